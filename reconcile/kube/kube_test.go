package kube_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/kube"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// connect makes an adapter with the rights that config has.
func connect(t *testing.T, config *rest.Config) *kube.Cluster {
	t.Helper()
	c, err := kube.New(config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func data(pairs ...string) map[string]credential.Password {
	m := map[string]credential.Password{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = credential.NewPassword(pairs[i+1])
	}
	return m
}

func TestASecretIsWrittenOnlyAsItWasRead(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)

	_, err := c.Secret(t.Context(), namespace, "auth")
	require.ErrorIs(t, err, reconcile.ErrNotFound)
	created, err := c.CreateSecret(t.Context(), reconcile.Secret{Namespace: namespace, Name: "auth", Type: "Opaque", Data: data("password", "one", "other", "kept")})
	require.NoError(t, err)
	_, err = c.CreateSecret(t.Context(), reconcile.Secret{Namespace: namespace, Name: "auth", Type: "Opaque", Data: data("password", "two")})
	require.ErrorIs(t, err, reconcile.ErrConflict, "it exists")

	change := created
	change.Data = data("password", "two", "other", "kept")
	updated, err := c.UpdateSecret(t.Context(), change)
	require.NoError(t, err)
	require.Equal(t, data("password", "two", "other", "kept"), updated.Data)

	change.Data = data("password", "three")
	_, err = c.UpdateSecret(t.Context(), change)
	require.ErrorIs(t, err, reconcile.ErrConflict, "somebody wrote since")

	require.NoError(t, cluster.Client.CoreV1().Secrets(namespace).Delete(t.Context(), "auth", metav1.DeleteOptions{}))
	_, err = c.UpdateSecret(t.Context(), updated)
	require.ErrorIs(t, err, reconcile.ErrConflict, "it is gone")
	_, err = c.CreateSecret(t.Context(), reconcile.Secret{Namespace: namespace, Name: "auth", Type: "Opaque", Data: data("password", "stranger")})
	require.NoError(t, err)
	_, err = c.UpdateSecret(t.Context(), updated)
	require.ErrorIs(t, err, reconcile.ErrConflict, "another Secret has its name")

	now, err := c.Secret(t.Context(), namespace, "auth")
	require.NoError(t, err)
	require.Equal(t, data("password", "stranger"), now.Data)
}

func TestAnUpdateKeepsWhatItDoesNotKnow(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.CreateMSSQLServer(t, namespace, "db")
	before, err := cluster.Client.CoreV1().Secrets(namespace).Get(t.Context(), "db-auth", metav1.GetOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, before.OwnerReferences)

	secret, err := c.Secret(t.Context(), namespace, "db-auth")
	require.NoError(t, err)
	secret.Data["extra"] = credential.NewPassword("x")
	_, err = c.UpdateSecret(t.Context(), secret)
	require.NoError(t, err)
	after, err := cluster.Client.CoreV1().Secrets(namespace).Get(t.Context(), "db-auth", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, before.OwnerReferences, after.OwnerReferences)
	require.Equal(t, before.Data["password"], after.Data["password"])
}

func TestAPauseIsLiftedByItsOwnReasonOnly(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.CreateMSSQLServer(t, namespace, "db")
	read := func() reconcile.Database {
		db, err := c.Database(t.Context(), namespace, "db")
		require.NoError(t, err)
		return db
	}
	require.False(t, read().Paused)
	require.NoError(t, c.Pause(t.Context(), read(), "Paused by gitrota, as one asks"))
	require.NoError(t, c.Pause(t.Context(), read(), "Paused by gitrota, as another asks"))
	require.Equal(t, "Paused by gitrota, as one asks", read().PauseReason, "who paused first has it")

	paused, err := c.PausedDatabases(t.Context())
	require.NoError(t, err)
	require.Contains(t, paused, read())

	require.NoError(t, c.Resume(t.Context(), read(), "Paused by gitrota, as another asks"))
	require.True(t, read().Paused)
	require.NoError(t, c.Resume(t.Context(), read(), "Paused by gitrota, as one asks"))
	require.False(t, read().Paused)
	require.NoError(t, c.Resume(t.Context(), read(), "Paused by gitrota, as one asks"), "twice is once")
	require.Equal(t, "Ready", read().Phase)

	_, err = c.Database(t.Context(), namespace, "nobody")
	require.ErrorIs(t, err, reconcile.ErrNotFound)
}

func TestADisruptionBudgetIsAWaitAndNotAFailure(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.CreateMSSQLServer(t, namespace, "db")
	db, err := c.Database(t.Context(), namespace, "db")
	require.NoError(t, err)
	pods, err := c.Pods(t.Context(), db)
	require.NoError(t, err)
	require.Len(t, pods, 1)
	require.True(t, pods[0].Ready)
	require.Contains(t, pods[0].PasswordFrom, "db-auth")

	none := intstr.FromInt32(0)
	_, err = cluster.Client.PolicyV1().PodDisruptionBudgets(namespace).Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "none"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: &none, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/instance": "db"}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	err = c.Evict(t.Context(), pods[0])
	require.Equal(t, fault.Wait, fault.As(err).Class)
	require.Equal(t, kube.ReasonDisruptionBudget, fault.As(err).Reason)

	require.NoError(t, cluster.Client.PolicyV1().PodDisruptionBudgets(namespace).Delete(t.Context(), "none", metav1.DeleteOptions{}))
	stranger := pods[0]
	stranger.UID = "00000000-0000-0000-0000-000000000000"
	require.NoError(t, c.Evict(t.Context(), stranger), "that one is gone already")
	same, err := c.Pods(t.Context(), db)
	require.NoError(t, err)
	require.Equal(t, pods[0].UID, same[0].UID)
	require.False(t, same[0].Ending)

	require.NoError(t, c.Evict(t.Context(), pods[0]))
	kubetest.Eventually(t, "another pod has its place", func(ctx context.Context) (bool, error) {
		now, err := c.Pods(ctx, db)
		return err == nil && len(now) == 1 && now[0].UID != pods[0].UID && now[0].Ready, err
	})
}

func TestMissingRightsAreNamedVerbByVerb(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	missing, err := connect(t, cluster.Config).Missing(t.Context(), namespace)
	require.NoError(t, err)
	require.Empty(t, missing)

	cluster.Kubectl(t, "-n", namespace, "create", "serviceaccount", "nobody")
	config, err := clientcmd.BuildConfigFromFlags("", cluster.ServiceAccountKubeconfig(t, namespace, "nobody"))
	require.NoError(t, err)
	nobody := connect(t, config)
	missing, err = nobody.Missing(t.Context(), namespace)
	require.NoError(t, err)
	require.Equal(t, []string{
		"get mssqlservers.kubedb.com", "update mssqlservers.kubedb.com/status", "get secrets", "create secrets", "update secrets",
		"get pods", "create pods/eviction", "create events",
	}, missing)
	_, err = nobody.Secret(t.Context(), namespace, "any")
	require.Equal(t, reconcile.ReasonPermissions, fault.As(err).Reason)
}

func TestAnAPIServerThatIsNotThereIsNoAnswer(t *testing.T) {
	c := connect(t, &rest.Config{Host: "https://127.0.0.1:1"})
	_, err := c.Database(t.Context(), "demo", "db")
	require.ErrorIs(t, err, reconcile.ErrAPIUnavailable)
	require.ErrorContains(t, c.Ping(t.Context()), "the cluster cannot be reached")
}

func TestADatabaseWithClientTLSIsReachedByItsOwnCertificate(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	cluster.CreateMSSQLServer(t, namespace, "db", kubetest.ClientTLS)
	db, err := c.Database(t.Context(), namespace, "db")
	require.NoError(t, err)
	require.NotNil(t, db.RootCAs)
	pods, err := c.Pods(t.Context(), db)
	require.NoError(t, err)
	require.Equal(t, "db-0.db-pods."+namespace+".svc", pods[0].ServerName)
}
