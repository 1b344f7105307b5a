package kube_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// serviceAccount makes one without any right.
func serviceAccount(t *testing.T, cluster *kubetest.Cluster, namespace, name string) *rest.Config {
	t.Helper()
	cluster.Kubectl(t, "-n", namespace, "create", "serviceaccount", name)
	config, err := clientcmd.BuildConfigFromFlags("", cluster.ServiceAccountKubeconfig(t, namespace, name))
	require.NoError(t, err)
	return config
}

// grant gives a service account exactly the rights, each "verb resource.group/subresource", in its namespace.
func grant(t *testing.T, cluster *kubetest.Cluster, namespace, account string, rights []string) {
	t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: account}}
	for _, right := range rights {
		verb, rest, _ := strings.Cut(right, " ")
		rest, subresource, _ := strings.Cut(rest, "/")
		resource, group, _ := strings.Cut(rest, ".")
		if subresource != "" {
			resource += "/" + subresource
		}
		role.Rules = append(role.Rules, rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}})
	}
	// Roles and their bindings are created by an update where they are not there yet.
	_, err := cluster.Client.RbacV1().Roles(namespace).Update(t.Context(), role, metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = cluster.Client.RbacV1().RoleBindings(namespace).Update(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: account},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
	}, metav1.UpdateOptions{})
	require.NoError(t, err)
}

func TestMissingRightsAreNamedVerbByVerb(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	all := connect(t, cluster.Config)
	nobody := connect(t, serviceAccount(t, cluster, namespace, "nobody"))

	database := reconcile.Target{Kind: manifest.KindMSSQLServer, Namespace: namespace, Name: "db"}
	group := database
	group.Group = true
	document := func(spec manifest.ServerSpec) reconcile.Target {
		return reconcile.Target{Kind: manifest.KindServer, Namespace: namespace, Name: "db", Group: true, Spec: &spec}
	}
	restarts := []string{"create pods/eviction", "delete pods", "list poddisruptionbudgets.policy"}
	listed := append([]string{"list pods", "get pods"}, restarts...)
	kubedb := []string{"get mssqlservers.kubedb.com", "update mssqlservers.kubedb.com/status"}
	secrets := []string{"get secrets", "create secrets", "update secrets", "create events"}
	for name, test := range map[string]struct {
		target    reconcile.Target
		consumers bool
		want      []string
	}{
		"a database": {target: database, want: slices.Concat(kubedb, secrets, []string{"get pods"}, restarts)},
		"a group":    {target: group, want: slices.Concat(kubedb, secrets, listed)},
		"a StatefulSet": {
			target: document(manifest.ServerSpec{Workload: &manifest.Workload{Kind: "StatefulSet", Name: "sql"}}),
			want:   slices.Concat(secrets, []string{"get statefulsets.apps"}, listed),
		},
		"a Deployment": {
			target: document(manifest.ServerSpec{Workload: &manifest.Workload{Kind: "Deployment", Name: "sql"}}),
			want:   slices.Concat(secrets, []string{"get deployments.apps"}, listed),
		},
		"labels":    {target: document(manifest.ServerSpec{Selector: map[string]string{"app": "sql"}}), want: slices.Concat(secrets, listed)},
		"endpoints": {target: document(manifest.ServerSpec{Endpoints: []string{"sql.example.com:1433"}}), want: secrets},
		"endpoints and consumers": {
			target: document(manifest.ServerSpec{Endpoints: []string{"sql.example.com:1433"}}), consumers: true,
			want: slices.Concat(secrets, []string{
				"list deployments.apps", "patch deployments.apps", "list statefulsets.apps", "patch statefulsets.apps",
				"list daemonsets.apps", "patch daemonsets.apps",
			}),
		},
	} {
		t.Run("of "+name, func(t *testing.T) {
			missing, err := nobody.Missing(t.Context(), test.target, test.consumers)
			require.NoError(t, err)
			require.Equal(t, test.want, missing)
			missing, err = all.Missing(t.Context(), test.target, test.consumers)
			require.NoError(t, err)
			require.Empty(t, missing)
		})
	}
	t.Run("when one is missing among others", func(t *testing.T) {
		wanted, err := nobody.Missing(t.Context(), group, true)
		require.NoError(t, err)
		someone := connect(t, serviceAccount(t, cluster, namespace, "someone"))
		for i, right := range wanted {
			grant(t, cluster, namespace, "someone", slices.Delete(slices.Clone(wanted), i, i+1))
			kubetest.Eventually(t, "only "+right+" is missing", func(ctx context.Context) (bool, error) {
				missing, err := someone.Missing(ctx, group, true)
				return slices.Equal(missing, []string{right}), err
			})
		}
	})
	_, err := nobody.Secret(t.Context(), namespace, "any")
	require.ErrorIs(t, err, reconcile.ErrForbidden)
	require.Equal(t, fault.Wait, fault.As(err).Class, "an API server that has just started refuses everybody")
	require.Equal(t, reconcile.ReasonPermissions, fault.As(err).Reason)
}

func TestTheRightsThatAreAskedForAreEnough(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	cluster.CreateMSSQLServer(t, namespace, "db")
	cluster.CreateMSSQLServer(t, namespace, "ag", kubetest.AvailabilityGroup(2))
	workload := runSQL(t, cluster, namespace, "StatefulSet", 1)
	for name, request := range map[string]reconcile.Request{
		"database":  asks(namespace, "db", nil),
		"group":     asks(namespace, "ag", nil),
		"workload":  asks(namespace, "legacy", workload),
		"selector":  asks(namespace, "legacy", &manifest.ServerSpec{Selector: map[string]string{"app": "sql"}, AuthSecret: auth("sql-auth")}),
		"endpoints": asks(namespace, "legacy", &manifest.ServerSpec{Endpoints: []string{"sql.example.com:1433"}, AuthSecret: auth("sql-auth")}),
	} {
		t.Run("for "+name, func(t *testing.T) {
			cluster.Apply(t, deployment(namespace, "shop-"+name, "env: [{name: P, valueFrom: {secretKeyRef: {name: keeper-"+name+", key: password}}}]"))
			of := target(t, connect(t, cluster.Config), request)
			c := connect(t, serviceAccount(t, cluster, namespace, name))
			rights, err := c.Missing(t.Context(), of, true)
			require.NoError(t, err)
			grant(t, cluster, namespace, name, rights)
			kubetest.Eventually(t, "nothing is missing", func(ctx context.Context) (bool, error) {
				missing, err := c.Missing(ctx, of, true)
				return len(missing) == 0, err
			})

			found := target(t, c, request)
			found.Version = of.Version // others write to it, too
			require.Equal(t, of, found)
			for _, replica := range replicas(t, c, of) {
				if replica.Pod {
					require.NoError(t, c.Evict(t.Context(), replica))
					break
				}
			}
			secret, err := c.CreateSecret(t.Context(), reconcile.Secret{Namespace: namespace, Name: "keeper-" + name, Type: "Opaque"})
			require.NoError(t, err)
			secret.Data = map[string]credential.Password{"password": credential.NewPassword("x")}
			_, err = c.UpdateSecret(t.Context(), secret)
			require.NoError(t, err)
			if of.KubeDB() {
				kubetest.Eventually(t, "it is paused as it was read", func(ctx context.Context) (bool, error) {
					err := c.Pause(ctx, target(t, c, request), "by a test") // KubeDB's health check writes there, too
					return err == nil, err
				})
				require.NoError(t, c.Resume(t.Context(), of, "by a test"))
			}
			of.AuthSecret = auth("keeper-" + name)
			consumers, err := c.Consumers(t.Context(), of)
			require.NoError(t, err)
			require.Len(t, consumers, 1)
			require.NoError(t, c.RestartConsumer(t.Context(), consumers[0], "one"))
			c.Event(t.Context(), of, "Test", "by "+name)
			kubetest.Eventually(t, "the event is there", func(ctx context.Context) (bool, error) {
				list, err := cluster.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=Test"})
				return err == nil && slices.ContainsFunc(list.Items, func(e corev1.Event) bool { return e.Message == "by "+name }), err
			})
		})
	}
}
