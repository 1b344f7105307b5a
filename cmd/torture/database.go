package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// database is one of an episode's. Its name is its kind.
type database struct {
	kind     string
	logins   []string // that rotate
	document string   // of the SQLServer in Git; "" for a MSSQLServer
	volumes  []string // claims of the pods, in the order of the pods' names
	server   *outside // of those that are not in the cluster
}

func (d *database) authSecret() string { return d.kind + "-auth" }
func (d *database) keeper() string     { return d.kind + "-auth-keeper" }
func (d *database) kubedb() bool       { return d.kind == "standalone" || d.kind == "group" }

// folders are where the servers keep what SQL Server keeps in master, by replica. Of a pod without a volume there is none
// that outlives it.
func (d *database) folders(e *episode) map[string]string {
	folders := map[string]string{}
	for n, claim := range d.volumes {
		folders[fmt.Sprintf("%s-%d", d.kind, n)] = e.cluster.Volume(e.namespace, claim)
	}
	if d.server != nil {
		folders[d.kind] = d.server.folder
	}
	return folders
}

// selector finds the pods.
func (d *database) selector() string {
	if d.kubedb() {
		return "app.kubernetes.io/instance=" + d.kind
	}
	return "app=" + d.kind
}

// makeDatabase makes one of a kind, and does not wait until it is ready.
func (e *episode) makeDatabase(ctx context.Context, kind string) (*database, error) {
	d := &database{kind: kind, logins: []string{"sa"}}
	switch kind {
	case "standalone":
		d.volumes = []string{"data-standalone-0"}
		return d, e.makeMSSQLServer(ctx, kind)
	case "group":
		d.volumes = []string{"data-group-0", "data-group-1", "data-group-2"}
		// Its pods take a moment to go, as pods do: one that is back under its name before the disruption controller has
		// seen it going is taken for one that still has to go, for two minutes.
		return d, e.makeMSSQLServer(ctx, kind, kubetest.AvailabilityGroup(3), kubetest.Annotated("devcluster.gitrota.dev/stop-delay", "700ms"))
	case "statefulset":
		d.volumes = []string{"data-statefulset-0"}
		d.document = e.sqlServer(kind, "workload: {kind: StatefulSet, name: statefulset}")
		return d, e.makeWorkload(ctx, kind, "StatefulSet", statefulSetLines)
	case "deployment":
		d.document = e.sqlServer(kind, "workload: {kind: Deployment, name: deployment}")
		return d, e.makeWorkload(ctx, kind, "Deployment", "")
	case "outside":
		d.logins = []string{"app"}
		err := e.makeOutside(ctx, d)
		d.document = e.sqlServer(kind, d.server.endpoints())
		return d, err
	case "pair":
		d.logins = []string{"app_a", "app_b"}
		err := e.makeOutside(ctx, d)
		d.document = e.sqlServer(kind, d.server.endpoints(), "admin: {name: pair-admin}", "loginPair: [app_a, app_b]", "gracePeriod: 1s")
		return d, errors.Join(err, e.makeSecret(ctx, "pair-admin", credential.Credential{Username: "sa", Password: d.server.sa}))
	}
	return nil, fmt.Errorf("no kind of database is called %q", kind)
}

// sqlServer is the document that describes a server to gitrota.
func (e *episode) sqlServer(name string, lines ...string) string {
	text := fmt.Sprintf("apiVersion: gitrota.dev/v1alpha1\nkind: SQLServer\nmetadata:\n  name: %s\n  namespace: %s\nspec:\n"+
		"  authSecret: {name: %[1]s-auth}\n  tls: {trustServerCertificate: true}\n", name, e.namespace)
	for _, line := range lines {
		text += "  " + line + "\n"
	}
	return text
}

func (e *episode) makeMSSQLServer(ctx context.Context, name string, changes ...func(*unstructured.Unstructured)) error {
	db, err := read(fmt.Sprintf(mssqlServer, name, e.namespace, e.probe(", ")))
	if err != nil {
		return err
	}
	for _, change := range changes {
		change(db)
	}
	return e.create(ctx, kubetest.MSSQLServers, db)
}

// create makes an object, whatever other episodes do to the API server meanwhile.
func (e *episode) create(ctx context.Context, resource schema.GroupVersionResource, object *unstructured.Unstructured) (err error) {
	waited := until(ctx, setupTime, "there is "+object.GetKind()+" "+object.GetName(), func() (bool, error) {
		call, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		_, err = e.cluster.Dynamic.Resource(resource).Namespace(e.namespace).Create(call, object, metav1.CreateOptions{})
		return err == nil || apierrors.IsAlreadyExists(err), nil
	})
	if waited != nil {
		return fmt.Errorf("%w, which last said: %v", waited, err)
	}
	return nil
}

const mssqlServer = `
apiVersion: kubedb.com/v1alpha2
kind: MSSQLServer
metadata: {name: %s, namespace: %s}
spec:
  version: 2022-cu12
  replicas: 1
  storageType: Durable
  tls: {clientTLS: false}
  podTemplate: {spec: {containers: [{name: mssql, env: [{name: ACCEPT_EULA, value: "Y"}, {name: MSSQL_PID, value: Evaluation}]%s}]}}
  storage: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
  deletionPolicy: WipeOut
`

// probe is the line of a container whose readiness is a login with the password of its environment, with what comes before.
func (e *episode) probe(before string) string {
	if !e.plan.Probe {
		return ""
	}
	return before + "readinessProbe: " + kubetest.LoginProbe
}

// makeWorkload runs a SQL Server in a pod that has sa's password in its environment.
func (e *episode) makeWorkload(ctx context.Context, name, kind, lines string) error {
	if err := e.makeSecret(ctx, name+"-auth", credential.Credential{Username: "sa", Password: e.newPassword()}); err != nil {
		return err
	}
	mounts := ""
	if lines != "" {
		mounts = "          volumeMounts: [{name: data, mountPath: /var/opt/mssql}]"
	}
	object, err := read(fmt.Sprintf(workload, kind, name, e.namespace, mounts, lines, e.probe("")))
	if err != nil {
		return err
	}
	return e.create(ctx, appsv1.SchemeGroupVersion.WithResource(strings.ToLower(kind)+"s"), object)
}

const workload = `
apiVersion: apps/v1
kind: %s
metadata: {name: %[2]s, namespace: %[3]s}
spec:
  replicas: 1
  selector: {matchLabels: {app: %[2]s}}
  template:
    metadata: {labels: {app: %[2]s}}
    spec:
      containers:
        - name: mssql
          image: server
          %[6]s
          env: [{name: MSSQL_SA_PASSWORD, valueFrom: {secretKeyRef: {name: %[2]s-auth, key: password}}}]
%[4]s
%[5]s
`

const statefulSetLines = `  serviceName: statefulset
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]`

// makeOutside starts a server with the database's logins, of which clients use the first.
func (e *episode) makeOutside(ctx context.Context, d *database) error {
	d.server = &outside{folder: filepath.Join(e.folder, d.kind), sa: e.newPassword()}
	if err := d.server.start(); err != nil {
		return err
	}
	e.atEnd(func() error { return d.server.running.Close() })
	for _, login := range d.logins {
		password := e.newPassword()
		if err := d.server.createLogin(ctx, login, password); err != nil {
			return err
		}
		if login != d.logins[0] {
			continue
		}
		if err := e.makeSecret(ctx, d.authSecret(), credential.Credential{Username: login, Password: password}); err != nil {
			return err
		}
	}
	return nil
}

func (e *episode) makeSecret(ctx context.Context, name string, c credential.Credential) error {
	return e.create(ctx, corev1.SchemeGroupVersion.WithResource("secrets"), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "namespace": e.namespace},
		"stringData": map[string]any{"username": c.Username, "password": c.Password.Reveal(), "host": "sql.example.com"},
	}})
}

// ready waits until the database's pods are Ready and its servers have stored something.
func (e *episode) ready(ctx context.Context, d *database) error {
	return until(ctx, setupTime, d.kind+" is ready", func() (bool, error) {
		for _, folder := range d.folders(e) {
			if _, err := os.Stat(filepath.Join(folder, "master.json")); err != nil {
				return false, nil
			}
		}
		if d.server != nil {
			return true, nil
		}
		if d.kubedb() {
			db, err := e.cluster.Dynamic.Resource(kubetest.MSSQLServers).Namespace(e.namespace).Get(ctx, d.kind, metav1.GetOptions{})
			if err != nil {
				return false, nil
			}
			phase, _, _ := unstructured.NestedString(db.Object, "status", "phase")
			return phase == "Ready", nil
		}
		pods, err := e.pods(ctx, d)
		return err == nil && len(pods) == 1 && isReady(pods[0]), nil
	})
}

func (e *episode) pods(ctx context.Context, d *database) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	list, err := e.cluster.Client.CoreV1().Pods(e.namespace).List(ctx, metav1.ListOptions{LabelSelector: d.selector()})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

func isReady(pod corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

// read reads a manifest.
func read(text string) (*unstructured.Unstructured, error) {
	json, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	return object, object.UnmarshalJSON(json)
}

const (
	setupTime = 3 * time.Minute // patience with what takes a second or two on an idle machine
	callTime  = 5 * time.Second // for one answer of the API server
)
