package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile"
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
	t.Run("the role grants what rotations ask for, and nothing else", func(t *testing.T) {
		c.Kubectl(t, "create", "serviceaccount", "nobody", "--namespace", demo)
		nobody, _ := as(t, c, demo, "nobody")
		require.ElementsMatch(t, missing(t, nobody, demo, false), granted(t, c, "gitrota"))
	})
	t.Run("the agent may rotate anywhere and list no Secrets", func(t *testing.T) {
		agent, client := as(t, c, "gitrota", "gitrota")
		require.Empty(t, missing(t, agent, demo, false))
		_, err := agent.Targets(t.Context())
		require.NoError(t, err)
		_, err = client.CoreV1().Secrets(demo).List(t.Context(), metav1.ListOptions{})
		require.True(t, apierrors.IsForbidden(err), "%v", err)
	})
	t.Run("the component adds what restarts of consumers ask for, and nothing else", func(t *testing.T) {
		agent, _ := as(t, c, "gitrota", "gitrota")
		needed := missing(t, agent, demo, true)
		require.NotEmpty(t, needed)
		c.Kubectl(t, "apply", "-k", withConsumers(t))
		require.ElementsMatch(t, needed, granted(t, c, "gitrota-consumers"))
		kubetest.Eventually(t, "nothing is missing", func(context.Context) (bool, error) {
			return len(missing(t, agent, demo, true)) == 0, nil
		})
	})
	t.Run("with a RoleBinding in its place, the agent may rotate there only", func(t *testing.T) {
		other := c.Namespace(t)
		c.Kubectl(t, "delete", "clusterrolebinding", "gitrota")
		c.Kubectl(t, "create", "rolebinding", "gitrota", "--namespace", demo, "--clusterrole=gitrota", "--serviceaccount=gitrota:gitrota")
		agent, _ := as(t, c, "gitrota", "gitrota")
		require.Empty(t, missing(t, agent, demo, false))
		require.NotEmpty(t, missing(t, agent, other, false))
		_, err := agent.Targets(t.Context())
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

// missing lists what the agent may not do and needs to, for targets of all kinds.
func missing(t *testing.T, agent *kube.Cluster, namespace string, consumers bool) []string {
	t.Helper()
	var list []string
	for _, target := range []reconcile.Target{
		{Kind: manifest.KindMSSQLServer},
		{Kind: manifest.KindMSSQLServer, Group: true},
		{Kind: manifest.KindServer, Spec: &manifest.ServerSpec{Workload: &manifest.Workload{Kind: "StatefulSet", Name: "sql"}}},
		{Kind: manifest.KindServer, Spec: &manifest.ServerSpec{Workload: &manifest.Workload{Kind: "Deployment", Name: "sql"}}},
		{Kind: manifest.KindServer, Spec: &manifest.ServerSpec{Selector: map[string]string{"app": "sql"}}},
		{Kind: manifest.KindServer, Spec: &manifest.ServerSpec{Endpoints: []string{"sql.example.com:1433"}}},
	} {
		target.Namespace, target.Name = namespace, "db"
		rights, err := agent.Missing(t.Context(), target, consumers)
		require.NoError(t, err)
		list = append(list, rights...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// withConsumers makes a kustomization as README.md shows it, and returns its folder.
func withConsumers(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	install, err := filepath.Abs(installFolder)
	require.NoError(t, err)
	install, err = filepath.Rel(folder, install)
	require.NoError(t, err)
	content := fmt.Sprintf("resources: [%[1]s]\ncomponents: [%[1]s/consumers]\n", install)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(content), 0o600))
	return folder
}

// granted lists what a role allows as kubectl auth can-i takes it, such as "create pods/eviction".
func granted(t *testing.T, c *kubetest.Cluster, name string) []string {
	t.Helper()
	role, err := c.Client.RbacV1().ClusterRoles().Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
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
