package kube_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/kube"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

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

func TestASecretTellsWhoseItIsAndWhoWroteIt(t *testing.T) {
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	c := connect(t, cluster.Config)
	secrets := cluster.Client.CoreV1().Secrets(namespace)
	read := func() reconcile.Secret {
		secret, err := c.Secret(t.Context(), namespace, "auth")
		require.NoError(t, err)
		return secret
	}
	patch := func(manager, patch string) {
		_, err := secrets.Patch(t.Context(), "auth", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager})
		require.NoError(t, err)
	}
	apply := func(manager, password string) {
		configuration := applycorev1.Secret("auth", namespace).WithData(map[string][]byte{"password": []byte(password)})
		_, err := secrets.Apply(t.Context(), configuration, metav1.ApplyOptions{FieldManager: manager, Force: true})
		require.NoError(t, err)
	}

	cluster.Kubectl(t, "-n", namespace, "create", "secret", "generic", "auth", "--from-literal=username=sa", "--from-literal=password=one")
	require.Empty(t, read().Owners)
	require.Equal(t, map[string]string{"username": "kubectl-create", "password": "kubectl-create"}, read().Writers)

	secret := read()
	secret.Data["password"], secret.Data["password.prev"] = credential.NewPassword("two"), credential.NewPassword("one")
	written, err := c.UpdateSecret(t.Context(), secret)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"username": "kubectl-create", "password": kube.FieldManager, "password.prev": kube.FieldManager}, written.Writers)

	patch("kubectl-edit", `{"stringData":{"password":"by hand"}}`)
	require.Equal(t, "kubectl-edit", read().Writers["password"])
	require.Equal(t, kube.FieldManager, read().Writers["password.prev"])
	patch("kubectl-label", `{"metadata":{"labels":{"password":"no"}}}`)
	require.Equal(t, "kubectl-edit", read().Writers["password"], "it has written something else")
	apply("flux", "from Git")
	require.Equal(t, "flux", read().Writers["password"])

	owner, err := cluster.Client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "kube-root-ca.crt", metav1.GetOptions{})
	require.NoError(t, err)
	patch("external-secrets", fmt.Sprintf(`{"metadata":{"ownerReferences":[
		{"apiVersion":"v1","kind":"ConfigMap","name":%[1]q,"uid":%[2]q,"controller":true}]}}`, owner.Name, owner.UID))
	require.Equal(t, []reconcile.Owner{{Kind: "ConfigMap", Name: owner.Name, UID: string(owner.UID), Controller: true}}, read().Owners)
}

func TestNothingIsCreatedWhereThereIsNoNamespace(t *testing.T) {
	cluster := kubetest.Start(t)
	c := connect(t, cluster.Config)
	_, err := c.CreateSecret(t.Context(), reconcile.Secret{Namespace: "gone", Name: "db-auth", Type: "Opaque"})
	require.Equal(t, fault.Refuse, fault.As(err).Class, "to try again changes nothing")
	require.Equal(t, kube.ReasonNamespaceTerminating, fault.As(err).Reason)
}
