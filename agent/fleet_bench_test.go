package agent_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/policies/guardrails"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/kube"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

const (
	fleet        = 200
	fleetLatency = 20 * time.Millisecond // of each round trip to a server
	fleetEnv     = "GITROTA_BENCH_SERVERS"
	fleetFirst   = "First-Password-1"
)

// TestMain turns this binary into the servers of [BenchmarkFleet] where it is told to, so that their memory and their
// processor time are not the agent's.
func TestMain(m *testing.M) {
	n, err := strconv.Atoi(os.Getenv(fleetEnv))
	if err != nil {
		os.Exit(m.Run())
	}
	for range n {
		server, err := mssqltest.Start(mssqltest.Options{
			SAPassword: credential.NewPassword(fleetFirst), Faults: mssqltest.Faults{Latency: mssqltest.Duration(fleetLatency)},
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(server.Addr())
	}
	bufio.NewReader(os.Stdin).ReadByte() // ends with whoever started it
}

// BenchmarkFleet rotates 200 databases behind a round trip of 20 ms, all pushed at once, and sets the time beside that
// of one of them alone. Memory is what the process that polls, rotates and commits grows by at its peak.
func BenchmarkFleet(b *testing.B) {
	cluster := kubetest.Start(b)
	for b.Loop() {
		alone, _ := rotateFleet(b, cluster, 1)
		all, grown := rotateFleet(b, cluster, fleet)
		b.ReportMetric(alone.Seconds(), "s-alone")
		b.ReportMetric(all.Seconds(), fmt.Sprintf("s-all-%d", fleet))
		b.ReportMetric(all.Seconds()/alone.Seconds(), "x-alone")
		b.ReportMetric(float64(grown)/(1<<20), "MiB-more-at-peak")
	}
}

// rotateFleet rotates n databases with one push, from the poll that finds it to the commit with all statuses.
func rotateFleet(b *testing.B, cluster *kubetest.Cluster, n int) (took time.Duration, grown uint64) {
	namespace := cluster.Namespace(b)
	adapter, err := kube.New(cluster.Config, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	defer adapter.Close(context.Background())
	files := map[string]string{}
	for i, address := range startServers(b, n) {
		name := fmt.Sprint("db-", i)
		_, err := adapter.CreateSecret(b.Context(), reconcile.Secret{Namespace: namespace, Name: name + "-auth", Type: "kubernetes.io/basic-auth",
			Data: map[string]credential.Password{"username": credential.NewPassword("sa"), "password": credential.NewPassword(fleetFirst)}})
		require.NoError(b, err)
		files["rotations/"+name+".yaml"] = fmt.Sprintf(`apiVersion: gitrota.dev/v1alpha1
kind: SQLServer
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  endpoints: ["%[3]s"]
  authSecret: {name: %[1]s-auth}
  tls: {trustServerCertificate: true}
---
apiVersion: ops.kubedb.com/v1alpha1
kind: MSSQLServerOpsRequest
metadata: {name: rotate-%[1]s, namespace: %[2]s}
spec: {type: RotateAuth, databaseRef: {name: %[1]s}}
`, name, namespace, address)
	}
	repo := gittest.NewServer(b, gittest.Options{}).NewRepo("rotations")
	repo.Commit(files, "Rotate the fleet")
	repository, err := gitsource.Open(gitsource.Options{URL: repo.URL(), Branch: "main", Author: gitsource.Person{Name: "gitrota", Email: "gitrota@localhost"}})
	require.NoError(b, err)
	controller := reconcile.NewController(reconcile.Options{
		Repository: repository, Path: "rotations", StatusPath: "rotation-status", Log: slog.New(slog.DiscardHandler),
		Guardrails: func() guardrails.Guardrails { return guardrails.Guardrails{MaxConcurrent: fleet} },
		Engine: &reconcile.Engine{
			Owner: "fleet", Cluster: adapter, Servers: reconcile.SQLServers{}, Clock: reconcile.WallClock{}, Random: rand.Reader,
			Log: slog.New(slog.DiscardHandler), AllowHost: func(string) bool { return true },
		},
	})

	before, peak := resident(), watchResident()
	began := time.Now()
	require.NoError(b, controller.Poll(b.Context()))
	controller.Advance(b.Context())
	controller.Wait()
	require.NoError(b, controller.Flush(b.Context()))
	took = time.Since(began)
	grown = max(peak(), before) - before
	require.Equal(b, n, controller.State().Ended[reconcile.PhaseSuccessful])
	return took, grown
}

// startServers starts n servers in a process of their own, and returns their addresses.
func startServers(b *testing.B, n int) (addresses []string) {
	binary, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", fleetEnv, n))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	require.NoError(b, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(stdout)
	for len(addresses) < n && lines.Scan() {
		addresses = append(addresses, lines.Text())
	}
	require.Len(b, addresses, n)
	return addresses
}

// resident is the memory of this process, in bytes.
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseUint(strings.Fields(string(text))[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// watchResident looks at the memory until the function that it returns is called, which returns the most that it saw.
func watchResident() func() uint64 {
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		most := uint64(0)
		for {
			most = max(most, resident())
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(stop)
		return <-peak
	}
}
