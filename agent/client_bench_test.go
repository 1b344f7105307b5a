package agent_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/fault"
	"github.com/gitrota/gitrota/reconcile/kube"
	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
	"github.com/gitrota/gitrota/reconcile/mssql"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// BenchmarkClientDuringRotation is the client's view: one that reads the auth Secret and logs in, over and over, while
// rotations go on. It reports for how long a rotation made it meet refused passwords. A single login cannot be changed
// on a server and in a Secret at one instant; of a pair, the login in the Secret is valid at every instant.
func BenchmarkClientDuringRotation(b *testing.B) {
	b.Run("single login", func(b *testing.B) { benchmarkClient(b, nil) })
	b.Run("pair of logins", func(b *testing.B) { benchmarkClient(b, []string{"app_a", "app_b"}) })
}

func benchmarkClient(b *testing.B, pair []string) {
	cluster := kubetest.Start(b)
	namespace := cluster.Namespace(b)
	server := mssqltest.StandIn(b)
	address := net.JoinHostPort(server.Host, strconv.Itoa(server.Port))
	first := credential.NewPassword("First-Password-1")
	for _, login := range []string{"app_a", "app_b"} {
		server.CreateLogin(b, login, first, mssqltest.LoginOptions{})
	}
	adapter, err := kube.New(cluster.Config, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	defer adapter.Close(context.Background())
	for name, login := range map[string]credential.Credential{"db-auth": {Username: "app_a", Password: first}, "db-admin": server.Admin} {
		_, err := adapter.CreateSecret(b.Context(), reconcile.Secret{Namespace: namespace, Name: name, Type: "kubernetes.io/basic-auth",
			Data: map[string]credential.Password{"username": credential.NewPassword(login.Username), "password": login.Password}})
		require.NoError(b, err)
	}
	engine := &reconcile.Engine{
		Owner: "benchmark", Cluster: adapter, Servers: reconcile.SQLServers{}, Clock: reconcile.WallClock{}, Random: rand.Reader,
		Log: slog.New(slog.DiscardHandler), AllowHost: func(string) bool { return true },
	}
	spec := &manifest.ServerSpec{
		Endpoints: []string{address}, AuthSecret: basicAuth("db-auth"), LoginPair: pair,
		TLS: manifest.ServerTLS{TrustServerCertificate: true},
	}
	admin := basicAuth("db-admin")
	spec.Admin = &admin

	watched := watchAsClient(b, adapter, namespace, mssql.Endpoint{Name: "db", Address: address, TLS: mssql.TLS{Any: true}})
	rotations := 0
	for b.Loop() {
		rotations++
		status := engine.Rotate(b.Context(), reconcile.Job{Status: reconcile.Status{Request: reconcile.Request{
			Kind: manifest.KindRequest, Namespace: namespace, Name: fmt.Sprint("r", rotations), ID: fmt.Sprint("id-", rotations), Database: "db", Server: spec, MaxRetries: 1,
		}}})
		require.Equal(b, reconcile.PhaseSuccessful, status.Phase, status.Conditions)
	}
	seen := watched()
	b.ReportMetric(float64(seen.longest.Microseconds())/1000, "ms-longest-refusal")
	b.ReportMetric(float64(seen.refused)/float64(rotations), "refused-logins/rotation")
	b.ReportMetric(float64(seen.logins)/float64(rotations), "logins/rotation")
	if pair != nil {
		require.Zero(b, seen.refused, "a client of a pair never meets a refused password")
	}
}

func basicAuth(name string) manifest.SecretKeys {
	return manifest.SecretKeys{Name: name, UsernameKey: "username", PasswordKey: "password"}
}

// experience is what a client has met.
type experience struct {
	logins, refused int
	longest         time.Duration // from a refused login to the next one that was let in
}

// watchAsClient reads the Secret and logs in until the function that it returns is called.
func watchAsClient(b *testing.B, adapter *kube.Cluster, namespace string, endpoint mssql.Endpoint) func() experience {
	ctx, cancel := context.WithCancel(b.Context())
	var seen experience
	var client sync.WaitGroup
	client.Go(func() {
		var refusedSince time.Time
		for ctx.Err() == nil {
			secret, err := adapter.Secret(ctx, namespace, "db-auth")
			if err != nil {
				continue
			}
			began := time.Now()
			session, err := mssql.Open(ctx, endpoint, credential.Credential{Username: secret.Data["username"].Reveal(), Password: secret.Data["password"]})
			var classified *fault.Error
			switch {
			case err == nil:
				session.Close()
				seen.logins++
				if !refusedSince.IsZero() {
					seen.longest = max(seen.longest, time.Since(refusedSince))
					refusedSince = time.Time{}
				}
			case errors.As(err, &classified) && classified.Reason == mssql.ReasonRefusedLogin:
				seen.refused++
				if refusedSince.IsZero() {
					refusedSince = began
				}
			}
		}
	})
	return func() experience {
		cancel()
		client.Wait()
		return seen
	}
}
