package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// trusted is the spec.tls of a document that leaves the certificate unchecked, where the story is about something else.
const trusted = "tls: {trustServerCertificate: true}"

// outside is a SQL Server outside of the cluster. It runs in the process of the test, which can ask it what it was told.
type outside struct {
	*mssqltest.Instance
	w    *world
	name string // of its document and of the request; with -auth after it, of its auth Secret
}

func (w *world) outside(name string, options ...func(*mssqltest.Options)) *outside {
	w.Helper()
	s := &outside{mssqltest.StandIn(w.T, options...), w, name}
	w.remember(s.Admin.Password)
	return s
}

// at is its entry in spec.endpoints.
func (s *outside) at() string {
	return fmt.Sprintf("endpoints: [%q]", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
}

// exec runs statements in a database as the server's administrator.
func (s *outside) exec(database string, statements ...string) {
	s.w.Helper()
	db := s.Open(s.w.T, s.Admin, "database="+database)
	defer db.Close()
	for _, statement := range statements {
		_, err := db.Exec(statement)
		require.NoError(s.w.T, err)
	}
}

// login makes an ordinary login, which may do nothing but change itself.
func (s *outside) login(name string, options ...string) credential.Credential {
	s.w.Helper()
	login := s.w.credential(name)
	s.exec("master", fmt.Sprintf("CREATE LOGIN [%s] WITH PASSWORD = N'%s'%s", name, login.Password.Reveal(), strings.Join(options, "")))
	return login
}

// user makes a user of the contained database shop.
func (s *outside) user(name string) credential.Credential {
	s.w.Helper()
	user := s.w.credential(name)
	require.NoError(s.w.T, s.StandIn().AddContainedDatabase("shop"))
	s.exec("shop", fmt.Sprintf("CREATE USER [%s] WITH PASSWORD = N'%s'", name, user.Password.Reveal()))
	return user
}

// lets tries a credential with a real login.
func (s *outside) lets(login credential.Credential, settings ...string) bool {
	s.w.Helper()
	db := s.Open(s.w.T, login, settings...)
	defer db.Close()
	err := db.PingContext(s.w.Context())
	if err != nil {
		require.ErrorContains(s.w.T, err, "Login failed")
	}
	return err == nil
}

// credential makes up a password for a login. Its random part has no letters, which could be the login's name.
func (w *world) credential(name string) credential.Credential {
	c := credential.Credential{Username: name, Password: credential.NewPassword(fmt.Sprint("Before-", rand.Uint64(), "-", rand.Uint64()))}
	w.remember(c.Password)
	return c
}

// keep puts a credential into a Secret, under username and password or the keys that are given.
func (w *world) keep(secret string, c credential.Credential, keys ...string) {
	w.Helper()
	if len(keys) == 0 {
		keys = []string{"username", "password"}
	}
	_, err := w.cluster.Client.CoreV1().Secrets(w.namespace).Create(context.Background(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secret},
		StringData: map[string]string{keys[0]: c.Username, keys[1]: c.Password.Reveal(), "host": "sql.example.com"},
	}, metav1.CreateOptions{})
	require.NoError(w.T, err)
}

// kept reads a credential back.
func (w *world) kept(secret string, keys ...string) credential.Credential {
	w.Helper()
	if len(keys) == 0 {
		keys = []string{"username", "password"}
	}
	s := w.secret(secret)
	require.NotNil(w.T, s, secret)
	c := credential.Credential{Username: string(s.Data[keys[0]]), Password: credential.NewPassword(string(s.Data[keys[1]]))}
	if !c.Password.IsZero() {
		w.remember(c.Password)
	}
	return c
}

// document is the manifest of a SQLServer with these lines in its spec.
func (w *world) document(name string, lines ...string) string {
	return fmt.Sprintf("apiVersion: gitrota.dev/v1alpha1\nkind: SQLServer\nmetadata:\n  name: %s\n  namespace: %s\nspec:\n  %s\n",
		name, w.namespace, strings.Join(lines, "\n  "))
}

// authSecret is the line of a document that names the auth Secret by the document's own name.
func authSecret(name string) string { return "authSecret: {name: " + name + "-auth}" }

// ended waits until a request has ended and returns its status.
func (w *world) ended(request string) status {
	w.Helper()
	w.eventually(request+" has ended", func() bool { return w.status(request).ended() })
	return w.status(request)
}

// why is the message of the condition that a request ended with, without the place in Git that it begins with.
func (s status) why() string {
	_, message, _ := strings.Cut(s.condition(s.phase()).Message, ": ")
	return message
}

// requireKeeper checks what a keeper holds when nothing is under way: the live and the previous credential.
func (w *world) requireKeeper(name string, live, previous credential.Credential) {
	w.Helper()
	keeper := w.secret(name)
	require.NotNil(w.T, keeper)
	require.Empty(w.T, keeper.Data["next.password"])
	require.Equal(w.T, live, w.kept(name, "live.username", "live.password"))
	require.Equal(w.T, previous, w.kept(name, "previous.username", "previous.password"))
}

// unmanaged makes a MSSQLServer that nobody runs.
func (w *world) unmanaged(name string) {
	w.Helper()
	w.cluster.Apply(w.T, fmt.Sprintf("apiVersion: kubedb.com/v1alpha2\nkind: MSSQLServer\nmetadata:\n  name: %s\n  namespace: %s\n"+
		"  annotations: {devcluster.gitrota.dev/unmanaged: \"true\"}\nspec: {version: 2022-cu12, tls: {clientTLS: false}}\n", name, w.namespace))
}
