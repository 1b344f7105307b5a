package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitrota/gitrota/reconcile/kube"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

const installFolder = "../../examples/install"

func TestTheInstallManifests(t *testing.T) {
	c := kubetest.Start(t)
	demo := c.Namespace(t)
	c.Kubectl(t, "apply", "-k", installFolder)

	t.Run("the pod is admitted where only restricted pods are", func(t *testing.T) {
		kubetest.Eventually(t, "the deployment has its pod", func(ctx context.Context) (bool, error) {
			d, err := c.Client.AppsV1().Deployments("gitrota").Get(ctx, "gitrota", metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			if d.Status.Replicas != 1 {
				return false, fmt.Errorf("it says %+v", d.Status.Conditions)
			}
			return true, nil
		})
	})
	t.Run("the role grants what a rotation asks for, and nothing else", func(t *testing.T) {
		c.Kubectl(t, "create", "serviceaccount", "nobody", "--namespace", demo)
		nobody, _ := as(t, c, demo, "nobody")
		needed, err := nobody.Missing(t.Context(), demo)
		require.NoError(t, err)
		role, err := c.Client.RbacV1().ClusterRoles().Get(t.Context(), "gitrota", metav1.GetOptions{})
		require.NoError(t, err)
		require.ElementsMatch(t, needed, granted(role))
	})
	t.Run("the agent may rotate anywhere and list no Secrets", func(t *testing.T) {
		agent, client := as(t, c, "gitrota", "gitrota")
		missing, err := agent.Missing(t.Context(), demo)
		require.NoError(t, err)
		require.Empty(t, missing)
		_, err = agent.PausedDatabases(t.Context())
		require.NoError(t, err)
		_, err = client.CoreV1().Secrets(demo).List(t.Context(), metav1.ListOptions{})
		require.True(t, apierrors.IsForbidden(err), "%v", err)
	})
	t.Run("with a RoleBinding in its place, the agent may rotate there only", func(t *testing.T) {
		other := c.Namespace(t)
		c.Kubectl(t, "delete", "clusterrolebinding", "gitrota")
		c.Kubectl(t, "create", "rolebinding", "gitrota", "--namespace", demo, "--clusterrole=gitrota", "--serviceaccount=gitrota:gitrota")
		agent, _ := as(t, c, "gitrota", "gitrota")
		missing, err := agent.Missing(t.Context(), demo)
		require.NoError(t, err)
		require.Empty(t, missing)
		missing, err = agent.Missing(t.Context(), other)
		require.NoError(t, err)
		require.NotEmpty(t, missing)
		_, err = agent.PausedDatabases(t.Context())
		require.NoError(t, err)
	})
}

// as returns the agent's view of the cluster, and a plain client, with the rights of a service account.
func as(t *testing.T, c *kubetest.Cluster, namespace, name string) (*kube.Cluster, kubernetes.Interface) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.ServiceAccountKubeconfig(t, namespace, name))
	require.NoError(t, err)
	agent, err := kube.New(config, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	require.NoError(t, err)
	t.Cleanup(func() { agent.Close(context.Background()) })
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return agent, client
}

// granted lists what a role allows as kubectl auth can-i takes it, such as "create pods/eviction".
func granted(role *rbacv1.ClusterRole) []string {
	var list []string
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				name, subresource, _ := strings.Cut(resource, "/")
				if group != "" {
					name += "." + group
				}
				if subresource != "" {
					name += "/" + subresource
				}
				for _, verb := range rule.Verbs {
					list = append(list, verb+" "+name)
				}
			}
		}
	}
	return list
}
