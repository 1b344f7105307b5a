package agent_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/kube"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
	"github.com/gitrota/gitrota/reconcile/mssql"
)

// BenchmarkRotation measures a rotation to a generated password on a real API server, a real Git server and the SQL
// Server stand-in, from the poll that finds the pushed request to the status commit on the branch. It reports the time
// of each step in milliseconds for one rotation, and the whole as a multiple of what a person's script would need that
// only reads the Secret, logs in, changes the password, writes the Secret and logs in again.
func BenchmarkRotation(b *testing.B) {
	b.Run("no pod restart", func(b *testing.B) { benchmarkRotation(b, false) })
	b.Run("pod restart", func(b *testing.B) { benchmarkRotation(b, true) })
}

func benchmarkRotation(b *testing.B, restart bool) {
	cluster := kubetest.Start(b)
	namespace := cluster.Namespace(b)
	if restart {
		cluster.CreateMSSQLServer(b, namespace, "db")
	} else {
		databaseWithoutPasswordInItsEnvironment(b, cluster, namespace)
	}
	repo := gittest.NewServer(b, gittest.Options{}).NewRepo("rotations")
	repo.Commit(map[string]string{"README.md": "x\n"}, "Begin")
	repository, err := gitsource.Open(gitsource.Options{URL: repo.URL(), Branch: "main", Author: gitsource.Person{Name: "gitrota", Email: "gitrota@localhost"}})
	require.NoError(b, err)
	log := slog.New(slog.DiscardHandler)
	adapter, err := kube.New(cluster.Config, log)
	require.NoError(b, err)
	defer adapter.Close(context.Background())

	var mu sync.Mutex
	steps := map[string]time.Duration{}
	note := func(step string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		steps[step] += took
	}
	controller := reconcile.NewController(reconcile.Options{
		Repository: repository, Path: "rotations", StatusPath: "rotation-status", Log: log,
		Engine: &reconcile.Engine{
			Cluster: adapter, Servers: reconcile.SQLServers{}, Clock: reconcile.WallClock{}, Random: rand.Reader, Log: log,
			Observe: func(step string, took time.Duration, _ error) { note(step, took) },
		},
	})
	timed := func(step string, do func() error) {
		began := time.Now()
		require.NoError(b, do())
		note(step, time.Since(began))
	}

	var byHand time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		byHand += rotateByHand(b, cluster, adapter, namespace)
		name := fmt.Sprintf("r%d", i)
		repo.Commit(map[string]string{"rotations/" + name + ".yaml": fmt.Sprintf(
			"apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\nmetadata: {name: %s, namespace: %s}\nspec: {type: RotateAuth, databaseRef: {name: db}, apply: Always}\n", name, namespace)}, "Rotate db")
		b.StartTimer()

		timed("git-read", func() error { return controller.Poll(b.Context()) })
		controller.Advance(b.Context())
		controller.Wait()
		timed("git-write", func() error { return controller.Flush(b.Context()) })

		b.StopTimer()
		require.Equal(b, i+1, controller.State().Ended[reconcile.PhaseSuccessful])
		b.StartTimer()
	}
	table := "where the time of one rotation goes:\n"
	for _, step := range slices.SortedFunc(maps.Keys(steps), func(x, y string) int { return cmp.Compare(steps[y], steps[x]) }) {
		each := float64(steps[step].Microseconds()) / 1000 / float64(b.N)
		b.ReportMetric(each, "ms-"+step)
		table += fmt.Sprintf("  %-10s %7.1f ms\n", step, each)
	}
	b.Log(table)
	b.ReportMetric(float64(b.Elapsed())/float64(byHand), "x-by-hand")
}

// rotateByHand does the least that changes a password, and keeps the database in step for the next rotation.
func rotateByHand(b *testing.B, cluster *kubetest.Cluster, adapter *kube.Cluster, namespace string) time.Duration {
	pod, err := cluster.Client.CoreV1().Pods(namespace).Get(b.Context(), "db-0", metav1.GetOptions{})
	require.NoError(b, err)
	endpoint := mssql.Endpoint{Name: "db-0", Address: net.JoinHostPort(pod.Status.PodIP, "1433"), TLS: mssql.TLS{Any: true}}
	next, err := credential.Generate(rand.Reader, "sa", credential.Rules{})
	require.NoError(b, err)

	began := time.Now()
	secret, err := adapter.Secret(b.Context(), namespace, "db-auth")
	require.NoError(b, err)
	login := credential.Credential{Username: "sa", Password: secret.Data["password"]}
	session, err := mssql.Open(b.Context(), endpoint, login)
	require.NoError(b, err)
	require.NoError(b, session.SetPassword(b.Context(), mssql.Change{Login: "sa", Next: next.Password}))
	session.Close()
	secret.Data["password"] = next.Password
	_, err = adapter.UpdateSecret(b.Context(), secret)
	require.NoError(b, err)
	session, err = mssql.Open(b.Context(), endpoint, next)
	require.NoError(b, err)
	session.Close()
	took := time.Since(began)

	// Behind the back of gitrota's keeper, so the keeper has to learn it without a refused login in the measurement.
	keeper, err := adapter.Secret(b.Context(), namespace, "db-auth-keeper")
	if err == nil {
		keeper.Data["live.password"] = next.Password
		_, err = adapter.UpdateSecret(b.Context(), keeper)
		require.NoError(b, err)
	}
	return took
}

// databaseWithoutPasswordInItsEnvironment makes a MSSQLServer whose pod took its first password from another Secret, so
// that no rotation has to restart it.
func databaseWithoutPasswordInItsEnvironment(b *testing.B, cluster *kubetest.Cluster, namespace string) {
	cluster.Apply(b, fmt.Sprintf(`
apiVersion: kubedb.com/v1alpha2
kind: MSSQLServer
metadata: {namespace: %[1]s, name: db, annotations: {devcluster.gitrota.dev/unmanaged: "true"}}
spec: {version: 2022-cu12, replicas: 1, tls: {clientTLS: false}}
---
apiVersion: v1
kind: Secret
metadata: {namespace: %[1]s, name: first-start}
stringData: {password: First-Password-1}
---
apiVersion: v1
kind: Secret
metadata: {namespace: %[1]s, name: db-auth}
type: kubernetes.io/basic-auth
stringData: {username: sa, password: First-Password-1}
---
apiVersion: v1
kind: Pod
metadata: {namespace: %[1]s, name: db-0}
spec:
  containers:
  - name: mssql
    image: mssql
    env: [{name: MSSQL_SA_PASSWORD, valueFrom: {secretKeyRef: {name: first-start, key: password}}}, {name: ACCEPT_EULA, value: "Y"}]
`, namespace))
	kubetest.Eventually(b, "the pod is Ready", func(ctx context.Context) (bool, error) {
		pod, err := cluster.Client.CoreV1().Pods(namespace).Get(ctx, "db-0", metav1.GetOptions{})
		return err == nil && pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != "", err
	})
}
