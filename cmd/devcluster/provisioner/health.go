package provisioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
	"github.com/gitrota/gitrota/policies/credential"
)

const (
	healthPeriod = 2 * time.Second
	// refusalPeriod is how long a server that refused a password is not asked with the same one again. It is KubeDB's
	// own period; every failed login counts towards a lockout.
	refusalPeriod = 10 * time.Second
)

// refusal is a password that a server did not take.
type refusal struct {
	password credential.Password
	at       time.Time
	reason   error
}

// replica is what the health check has found out about one pod.
type replica struct {
	pod     string
	primary bool
	arbiter bool
	ready   bool
	login   error    // nil when the server took the auth Secret's credential, and of an arbiter
	behind  []string // members of the group that are not in step, as the primary sees them
}

// syncHealth asks the servers of a database how they are and reports it.
func (p *Provisioner) syncHealth(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	db, err := p.ours(ctx, key)
	if err != nil || db == nil || db.IsPaused() {
		return 0, err
	}
	replicas, err := p.examine(ctx, db)
	if err != nil {
		return 0, err
	}
	status := statusOf(db, replicas, time.Now())
	if equality.Semantic.DeepEqual(status, db.Status) {
		return healthPeriod, nil
	}
	return healthPeriod, p.writeStatus(ctx, db, status)
}

// examine looks at every pod of the database that is there.
func (p *Provisioner) examine(ctx context.Context, db *kubedb.MSSQLServer) ([]replica, error) {
	pods, err := p.podsOf(db)
	if err != nil {
		return nil, err
	}
	var login credential.Credential
	if secret, err := p.secrets.Secrets(db.Namespace).Get(db.AuthSecretName()); err == nil {
		login.Username = string(secret.Data[corev1.BasicAuthUsernameKey])
		login.Password = credential.NewPassword(string(secret.Data[corev1.BasicAuthPasswordKey]))
	}
	key := types.NamespacedName{Namespace: db.Namespace, Name: db.Name}
	before, refused := p.refused.recall(key), map[types.UID]refusal{}
	var replicas []replica
	for _, pod := range pods {
		one := replica{pod: pod.Name, primary: pod.Labels[kubedb.RoleLabel] == kubedb.RolePrimary, arbiter: isArbiter(pod), ready: isReady(pod)}
		switch {
		case one.arbiter:
		case !one.ready:
			one.login = errors.New("the pod is not ready")
		case login.IsZero():
			one.login = fmt.Errorf("there is no auth Secret %s", db.AuthSecretName())
		default:
			last, known := before[pod.UID]
			if known && last.password == login.Password && time.Since(last.at) < refusalPeriod {
				refused[pod.UID], one.login = last, last.reason
				break
			}
			one.behind, one.login = logIn(ctx, pod.Status.PodIP, login, db.IsGroup() && one.primary)
			if answer := new(mssql.Error); errors.As(one.login, answer) {
				refused[pod.UID] = refusal{password: login.Password, at: time.Now(), reason: one.login}
			}
		}
		replicas = append(replicas, one)
	}
	p.refused.replace(key, refused)
	return replicas, nil
}

// statusOf is what KubeDB would report. The first time that all is well ends the provisioning.
func statusOf(db *kubedb.MSSQLServer, replicas []replica, now time.Time) kubedb.Status {
	status := kubedb.Status{Phase: db.Status.Phase, ObservedGeneration: db.Generation, Conditions: slices.Clone(db.Status.Conditions)}
	set := func(conditionType string, is bool, message string) {
		reason := conditionType
		if !is {
			reason = "Not" + conditionType
		}
		value := metav1.ConditionTrue
		if !is {
			value = metav1.ConditionFalse
		}
		status.Set(kubedb.Condition{
			Type: conditionType, Status: value, Reason: reason, Message: message,
			ObservedGeneration: db.Generation, LastTransitionTime: metav1.NewTime(now).Rfc3339Copy(),
		})
	}
	if db.Status.Phase == "" {
		set(kubedb.ConditionProvisioningStarted, true, fmt.Sprintf("The provisioning of MSSQLServer %s/%s has started", db.Namespace, db.Name))
	}
	var waiting, closed, behind []string
	accepting := false // the primary takes the credential
	for _, one := range replicas {
		if !one.ready {
			waiting = append(waiting, one.pod)
		}
		if one.login != nil {
			closed = append(closed, one.pod+": "+reasonOf(one.login))
		} else if one.primary {
			accepting, behind = true, one.behind
		}
	}
	wanted := int(db.Replicas())
	if db.HasArbiter() {
		wanted++
	}
	complete := len(replicas) == wanted && len(waiting) == 0
	ready := complete && len(closed) == 0 && len(behind) == 0
	for _, member := range behind {
		closed = append(closed, member+": not in step with the primary")
	}

	set(kubedb.ConditionReplicaReady, complete, either(complete, "All desired replicas are ready",
		fmt.Sprintf("%d of %d replicas are ready", len(replicas)-len(waiting), wanted)))
	if db.IsGroup() {
		set(kubedb.ConditionPrimaryReady, accepting, either(accepting, "The primary replica of the availability group is ready", "The availability group has no primary replica that is ready"))
	}
	set(kubedb.ConditionAcceptingConnection, accepting, either(accepting, "The MSSQLServer is accepting connections with the credential of the auth Secret",
		"The MSSQLServer is not accepting connections. "+strings.Join(closed, "; ")))
	set(kubedb.ConditionReady, ready, either(ready, "The MSSQLServer is ready", "The MSSQLServer is not ready. "+strings.Join(closed, "; ")))
	if ready && !status.Is(kubedb.ConditionProvisioned) {
		set(kubedb.ConditionProvisioned, true, fmt.Sprintf("The MSSQLServer %s/%s is successfully provisioned", db.Namespace, db.Name))
	}
	switch {
	case !status.Is(kubedb.ConditionProvisioned):
		status.Phase = kubedb.PhaseProvisioning
	case !accepting:
		status.Phase = kubedb.PhaseNotReady
	case !ready:
		status.Phase = kubedb.PhaseCritical
	default:
		status.Phase = kubedb.PhaseReady
	}
	return status
}

// writeStatus fails when the database has changed since it was read: the list of conditions is written as a whole, and a
// pause that somebody put in meanwhile must not be lost.
func (p *Provisioner) writeStatus(ctx context.Context, db *kubedb.MSSQLServer, status kubedb.Status) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{"status": content}}
	object.SetGroupVersionKind(kubedb.MSSQLServers.GroupVersion().WithKind("MSSQLServer"))
	object.SetNamespace(db.Namespace)
	object.SetName(db.Name)
	object.SetUID(db.UID)
	object.SetResourceVersion(db.ResourceVersion)
	patch, err := object.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = p.databases(db.Namespace).Patch(ctx, db.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager}, "status")
	return err
}

// podsOf are the pods of a database in the order of their names.
func (p *Provisioner) podsOf(db *kubedb.MSSQLServer) ([]*corev1.Pod, error) {
	pods, err := p.pods.Pods(db.Namespace).List(labels.SelectorFromSet(db.Selector()))
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, err
}

func isReady(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}
