// Package provisioner stands in for the part of KubeDB that makes a database of a MSSQLServer, and for the part that
// runs beside each replica.
//
// It makes the objects that KubeDB's documentation names: the auth Secret, the Services, a StatefulSet, which stands for
// KubeDB's PetSet, and for an availability group the disruption budget and, where its replicas are even in number, the
// arbiter. It reports phase and conditions by what
// KubeDB's health check looks at: whether the pods are ready, and whether the servers take the credential that is in
// the auth Secret right now.
//
// While a MSSQLServer has the condition Paused, everything of it is left as it is, its status too. One with the annotation
// devcluster.gitrota.dev/unmanaged is not looked at.
package provisioner

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/gitrota/gitrota/cmd/devcluster/availability"
	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
	"github.com/gitrota/gitrota/cmd/devcluster/pki"
	"github.com/gitrota/gitrota/cmd/devcluster/work"
)

// fieldManager is under whose name the provisioner writes.
const fieldManager = "kubedb-provisioner"

// Provisioner makes databases. Its three loops share what they know of the cluster and nothing else.
type Provisioner struct {
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	authority *pki.Authority // of the servers' certificates
	groups    *availability.Groups
	pods      corelisters.PodLister
	secrets   corelisters.SecretLister
	informer  cache.SharedIndexInformer // of the databases
	log       *slog.Logger

	objects, health, roles *work.Queue

	refused memory[refusal]           // by a server, of a password
	handed  memory[map[string]string] // to a pod: annotations
}

// New returns a provisioner that is at work once the informers and Run are.
func New(client kubernetes.Interface, dyn dynamic.Interface, factory informers.SharedInformerFactory,
	databases dynamicinformer.DynamicSharedInformerFactory, authority *pki.Authority,
	groups *availability.Groups, log *slog.Logger) (*Provisioner, error) {
	p := &Provisioner{
		client: client, dynamic: dyn, authority: authority, groups: groups, log: log,
		pods:     factory.Core().V1().Pods().Lister(),
		secrets:  factory.Core().V1().Secrets().Lister(),
		informer: databases.ForResource(kubedb.MSSQLServers).Informer(),
	}
	p.objects = work.NewQueue("provision a database", p.syncObjects, log)
	p.health = work.NewQueue("report the health of a database", p.syncHealth, log)
	p.roles = work.NewQueue("look after the replicas of a database", p.syncRoles, log)

	pods, secrets := factory.Core().V1().Pods().Informer(), factory.Core().V1().Secrets().Informer()
	for _, watch := range []struct {
		queue    *work.Queue
		informer cache.SharedIndexInformer
		keysOf   func(metav1.Object) []types.NamespacedName
	}{
		{p.objects, p.informer, nil},
		{p.objects, secrets, p.authSecretOf},
		{p.objects, factory.Apps().V1().StatefulSets().Informer(), instanceOf},
		{p.objects, factory.Core().V1().Services().Informer(), instanceOf},
		{p.objects, factory.Policy().V1().PodDisruptionBudgets().Informer(), instanceOf},
		{p.health, p.informer, nil},
		{p.health, secrets, p.authSecretOf},
		{p.health, pods, instanceOf},
		{p.roles, p.informer, nil},
		{p.roles, pods, instanceOf},
	} {
		if err := watch.queue.Watch(watch.informer, watch.keysOf); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Run works until ctx ends.
func (p *Provisioner) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { p.objects.Run(ctx, 4) })
	all.Go(func() { p.health.Run(ctx, 16) }) // most of which wait for servers that do not answer
	all.Go(func() { p.roles.Run(ctx, 4) })
	all.Wait()
}

// instanceOf is the database that an object belongs to by its labels.
func instanceOf(object metav1.Object) []types.NamespacedName {
	labels := object.GetLabels()
	if labels[kubedb.NameLabel] != kubedb.Name {
		return nil
	}
	return []types.NamespacedName{{Namespace: object.GetNamespace(), Name: labels[kubedb.InstanceLabel]}}
}

// authSecretOf are the databases whose auth Secret or certificate the object is.
func (p *Provisioner) authSecretOf(object metav1.Object) []types.NamespacedName {
	inNamespace, err := p.informer.GetIndexer().ByIndex(cache.NamespaceIndex, object.GetNamespace())
	if err != nil {
		return nil
	}
	var keys []types.NamespacedName
	for _, one := range inNamespace {
		db, err := kubedb.Read(one.(*unstructured.Unstructured))
		if err == nil && (db.AuthSecretName() == object.GetName() || db.CertSecretName() == object.GetName()) {
			keys = append(keys, types.NamespacedName{Namespace: db.Namespace, Name: db.Name})
		}
	}
	return keys
}

// syncObjects makes what a database needs.
func (p *Provisioner) syncObjects(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	db, err := p.ours(ctx, key)
	if err != nil || db == nil || db.IsPaused() {
		return 0, err
	}
	if err := p.ensureAuthSecret(ctx, db); err != nil {
		return 0, err
	}
	if db.ClientTLS() {
		if err := p.ensureCertificate(ctx, db); err != nil {
			return 0, err
		}
	}
	for _, object := range objects(db) {
		content, err := object.withoutStatus()
		if err != nil {
			return 0, err
		}
		wanted := &unstructured.Unstructured{Object: content}
		// An apply that changes nothing is no write, and nobody hears of it.
		_, err = p.dynamic.Resource(object.resource).Namespace(db.Namespace).Apply(ctx, wanted.GetName(), wanted,
			metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		if err != nil {
			return 0, fmt.Errorf("applying %s %s: %w", wanted.GetKind(), wanted.GetName(), err)
		}
	}
	if db.IsGroup() && !db.HasArbiter() {
		return 0, p.removeArbiter(ctx, db)
	}
	return 0, nil
}

// ours is the database as it is at the API server, which may know of a pause that has not reached us. It is nil where
// there is nothing to be done for it.
func (p *Provisioner) ours(ctx context.Context, key types.NamespacedName) (*kubedb.MSSQLServer, error) {
	object, err := p.databases(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if errors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	db, err := kubedb.Read(object)
	if err != nil || db.DeletionTimestamp != nil || db.IsUnmanaged() {
		return nil, err
	}
	return db, nil
}

func (p *Provisioner) databases(namespace string) dynamic.ResourceInterface {
	return p.dynamic.Resource(kubedb.MSSQLServers).Namespace(namespace)
}
