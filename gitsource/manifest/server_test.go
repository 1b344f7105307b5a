package manifest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

const legacy = `apiVersion: gitrota.dev/v1alpha1
kind: SQLServer
metadata:
  name: legacy
  namespace: shop
spec:
  workload: {kind: StatefulSet, name: legacy}
  authSecret: {name: legacy-auth}
  admin: {name: legacy-admin}
  tls:
    caSecret: {name: legacy-ca}
`

const external = `apiVersion: gitrota.dev/v1alpha1
kind: SQLServer
metadata: {name: legacy, namespace: shop}
spec:
  endpoints: [sql1.example.com:1433]
  authSecret: {name: legacy-auth}
`

// serverOf returns the only SQLServer of a file, which has no problems.
func serverOf(t *testing.T, content string) *manifest.Server {
	t.Helper()
	set := parse(content)
	require.Empty(t, set.AllProblems())
	require.Len(t, set.Servers, 1)
	return set.Servers[0]
}

func TestServer(t *testing.T) {
	basic := func(name string) manifest.SecretKeys {
		return manifest.SecretKeys{Name: name, UsernameKey: "username", PasswordKey: "password"}
	}

	t.Run("what is left out has its default", func(t *testing.T) {
		admin := basic("legacy-admin")
		server := serverOf(t, legacy)
		require.Equal(t, "shop/legacy", server.Namespace+"/"+server.Name)
		require.Equal(t, "rotations/a.yaml", server.Path)
		require.Equal(t, 1, server.Line)
		require.Equal(t, manifest.ServerSpec{
			Workload:  &manifest.Workload{Kind: "StatefulSet", Name: "legacy"},
			Container: "mssql", Port: 1433,
			AuthSecret: basic("legacy-auth"), Admin: &admin,
			TLS: manifest.ServerTLS{CASecret: &manifest.CASecret{Name: "legacy-ca", Key: "ca.crt"}},
		}, server.Spec)
	})

	t.Run("everything can be said", func(t *testing.T) {
		server := serverOf(t, `apiVersion: gitrota.dev/v1alpha1
kind: SQLServer
metadata: {name: legacy, namespace: shop, labels: {team: dba}}
spec:
  selector: {matchLabels: {app: legacy, app.kubernetes.io/part-of: shop}}
  container: sql
  port: 1434
  authSecret: {name: legacy-auth, usernameKey: user, passwordKey: DB_PASSWORD}
  admin: {name: legacy-admin, usernameKey: a, passwordKey: b}
  loginPair: ["app [a]", 'O''Brien]; DROP']
  gracePeriod: 0s
  tls: {trustServerCertificate: true, serverName: sql1.example.com}
`)
		require.Equal(t, manifest.ServerSpec{
			Selector:  map[string]string{"app": "legacy", "app.kubernetes.io/part-of": "shop"},
			Container: "sql", Port: 1434,
			AuthSecret: manifest.SecretKeys{Name: "legacy-auth", UsernameKey: "user", PasswordKey: "DB_PASSWORD"},
			Admin:      &manifest.SecretKeys{Name: "legacy-admin", UsernameKey: "a", PasswordKey: "b"},
			LoginPair:  []string{"app [a]", "O'Brien]; DROP"},
			TLS:        manifest.ServerTLS{TrustServerCertificate: true, ServerName: "sql1.example.com"},
		}, server.Spec)
	})

	t.Run("a pair has ten minutes of grace", func(t *testing.T) {
		server := serverOf(t, strings.Replace(legacy, "  tls:", "  loginPair: [a, b]\n  tls:", 1))
		require.Equal(t, 10*time.Minute, server.Spec.GracePeriod)
	})

	t.Run("endpoints have neither container nor port, and are written in one way", func(t *testing.T) {
		server := serverOf(t, strings.Replace(external, "[sql1.example.com:1433]",
			`[SQL1.Example.com:1433, "[2001:DB8::1]:01433", 10.0.0.1:1, sql_2.example.com.:65535]`, 1)+"  containedDatabase: shop\n")
		require.Equal(t, manifest.ServerSpec{
			Endpoints:         []string{"sql1.example.com:1433", "[2001:db8::1]:1433", "10.0.0.1:1", "sql_2.example.com:65535"},
			AuthSecret:        basic("legacy-auth"),
			ContainedDatabase: "shop",
		}, server.Spec)
	})

	t.Run("a certificate is kept without what stands around it", func(t *testing.T) {
		certificate := selfSigned(t)
		server := serverOf(t, withCertificate("subject=sql1\n"+certificate+"\n"))
		require.Equal(t, certificate, server.Spec.TLS.Certificate)
	})

	t.Run("what a keeper remembers is read by every later version", func(t *testing.T) {
		spec := serverOf(t, legacy).Spec
		spec.LoginPair, spec.GracePeriod = []string{"a", "b"}, time.Minute
		text, err := json.Marshal(spec)
		require.NoError(t, err)
		require.JSONEq(t, `{
			"workload": {"kind": "StatefulSet", "name": "legacy"}, "container": "mssql", "port": 1433,
			"authSecret": {"name": "legacy-auth", "usernameKey": "username", "passwordKey": "password"},
			"admin": {"name": "legacy-admin", "usernameKey": "username", "passwordKey": "password"},
			"loginPair": ["a", "b"], "gracePeriod": 60000000000,
			"tls": {"caSecret": {"name": "legacy-ca", "key": "ca.crt"}}
		}`, string(text))
	})

	t.Run("it is found by its name", func(t *testing.T) {
		set := parse(legacy)
		require.Same(t, set.Servers[0], set.Server("shop", "legacy"))
		require.Nil(t, set.Server("other", "legacy"))
	})
}

func TestWrongServers(t *testing.T) {
	in := func(content, old, new string) string {
		t.Helper()
		require.Contains(t, content, old)
		return strings.Replace(content, old, new, 1)
	}
	const workload = "  workload: {kind: StatefulSet, name: legacy}\n"
	const host = "write host:port, such as sql1.example.com:1433 or [2001:db8::1]:1433"
	const pair = "  loginPair: [a, b]\n"
	endpoint := func(text string) string { return in(external, "sql1.example.com:1433", text) }
	for story, test := range map[string]struct{ content, want string }{
		"a mistyped field is named with what was meant": {legacy + "  loginPairs: [a, b]\n",
			`12: UnknownField: spec has no field "loginPairs"; did you mean "loginPair"?`},
		"a mistyped field in a Secret's keys is found": {in(legacy, "legacy-auth}", "legacy-auth, userNamekey: x}"),
			`8: UnknownField: spec.authSecret has no field "userNamekey"; did you mean "usernameKey"?`},
		"a status is not read": {legacy + "status: {}\n",
			`12: UnknownField: the server has no field "status"; the fields here are apiVersion, kind, metadata, spec`},
		"a spec is needed": {"apiVersion: gitrota.dev/v1alpha1\nkind: SQLServer\nmetadata: {name: a, namespace: b}\n",
			`1: MissingField: spec is missing; say in it where the server is, and name its authSecret`},
		"a namespace is needed": {in(legacy, "  namespace: shop\n", ""),
			`4: MissingField: metadata.namespace is missing; name it: requests, Secrets and pods of this server are looked for there`},

		"a server is somewhere": {in(legacy, workload, ""),
			`7: MissingField: spec does not say where the server is; give one of workload, selector and endpoints`},
		"a server is not in two places": {in(legacy, workload, workload+"  selector: {matchLabels: {app: legacy}}\n"),
			`8: InvalidField: spec.workload and spec.selector are both there, and only one can say where the server is; keep one of them`},
		"a DaemonSet runs no SQL Server": {in(legacy, "StatefulSet", "DaemonSet"),
			`7: InvalidField: spec.workload.kind is "DaemonSet"; use StatefulSet or Deployment`},
		"a workload has a kind": {in(legacy, "kind: StatefulSet, ", ""),
			`7: MissingField: spec.workload.kind is missing; use StatefulSet or Deployment`},
		"a workload has a name": {in(legacy, ", name: legacy}", "}"),
			`7: MissingField: spec.workload.name is missing; name the workload whose pods run SQL Server`},
		"a selector without labels selects everything": {in(legacy, workload, "  selector: {}\n"),
			`7: MissingField: spec.selector.matchLabels holds no labels, and so would stand for every pod of the namespace; give the labels of the pods that run SQL Server`},
		"a selector has equal labels only": {in(legacy, workload, "  selector: {matchLabels: {a: b}, matchExpressions: []}\n"),
			`7: UnknownField: spec.selector has no field "matchExpressions"; the fields here are matchLabels`},
		"a label is text": {in(legacy, workload, "  selector:\n    matchLabels:\n      year: 2026\n"),
			`9: InvalidField: the label "year" in spec.selector.matchLabels is a number and not a string; put it in quotes`},
		"a label is one that pods can have": {in(legacy, workload, "  selector:\n    matchLabels:\n      app: a b\n"),
			`9: InvalidField: "app: a b" in spec.selector.matchLabels is not a label that pods can have; copy key and value from the labels of the pods`},
		"a container has a name": {in(legacy, workload, workload+"  container: SQL Server\n"),
			`8: InvalidField: spec.container "SQL Server" is not the name of a container; use lower case letters, digits and dashes, beginning and ending with a letter or digit`},
		"a port is a port": {in(legacy, workload, workload+"  port: 65536\n"),
			`8: InvalidField: spec.port is not a whole number from 1 to 65535; write it without quotes`},

		"an endpoint needs a port":          {endpoint("sql1.example.com"), `5: InvalidField: spec.endpoints[0] is not a host and a port; ` + host},
		"a port is not 0":                   {endpoint("sql1.example.com:0"), `5: InvalidField: spec.endpoints[0] has a port that is not from 1 to 65535; ` + host},
		"a port is a number":                {endpoint("sql1.example.com:ms-sql-s"), `5: InvalidField: spec.endpoints[0] has a port that is not from 1 to 65535; ` + host},
		"an endpoint is no URL":             {endpoint("'sqlserver://sql1.example.com:1433'"), `5: InvalidField: spec.endpoints[0] is more than a host and a port; ` + host},
		"an endpoint has no path":           {endpoint("sql1.example.com:1433/master"), `5: InvalidField: spec.endpoints[0] is more than a host and a port; ` + host},
		"an instance has a port of its own": {endpoint(`'sql1\EXPRESS:1433'`), `5: InvalidField: spec.endpoints[0] is more than a host and a port; ` + host},
		"an IPv6 address is in brackets":    {endpoint("'2001:db8::1:1433'"), `5: InvalidField: spec.endpoints[0] is not a host and a port; ` + host},
		"a zone means nothing elsewhere":    {endpoint("'[fe80::1%eth0]:1433'"), `5: InvalidField: spec.endpoints[0] has a host that is neither a DNS name nor an IP address; ` + host},
		"a host is a name or an address":    {endpoint("10.0.0.256:1433"), `5: InvalidField: spec.endpoints[0] has a host that is neither a DNS name nor an IP address; ` + host},
		"a password in an endpoint is leaked, and not repeated": {endpoint("'sa:Canary5@sql1.example.com:1433'"),
			`5: InvalidField: spec.endpoints[0] holds a user name or a password, readable in Git, and in its history: treat the password as leaked and never use it again; choose a new password, and write host:port alone; the login is in spec.authSecret`},
		"a connection string is not repeated": {endpoint("'Server=sql1,1433;User Id=sa;Password=Canary5'"),
			`5: InvalidField: spec.endpoints[0] is more than a host and a port; ` + host},
		"one server is not two": {endpoint("sql1:1433, 'SQL1.:1433'"),
			`5: InvalidField: spec.endpoints[1] is the server of line 5 again; remove one of them`},
		"no endpoints are no place": {in(external, "[sql1.example.com:1433]", "[]"),
			`5: InvalidField: spec.endpoints is empty; leave it out, or put something into it`},
		"an endpoint has no container": {external + "  container: mssql\n",
			`7: InvalidField: spec.container is about pods, and spec.endpoints are none; leave it out`},
		"an endpoint has its own port": {external + "  port: 1433\n",
			`7: InvalidField: spec.port is about pods, and spec.endpoints are none; leave it out`},

		"a login has to be somewhere": {in(legacy, "  authSecret: {name: legacy-auth}\n", ""),
			`7: MissingField: spec.authSecret is missing; name the Secret with the login that rotates, which clients read`},
		"a Secret has a name": {in(legacy, "{name: legacy-auth}", "{usernameKey: u}"),
			`8: MissingField: spec.authSecret.name is missing; name the Secret, which is in the server's namespace`},
		"a key is one that Secrets can have": {in(legacy, "legacy-auth}", "legacy-auth, passwordKey: a/b}"),
			`8: InvalidField: spec.authSecret.passwordKey "a/b" is not a key of a Secret; use letters, digits, dashes, underscores and dots`},
		"username and password are two keys": {in(legacy, "legacy-auth}", "legacy-auth, passwordKey: username}"),
			`8: InvalidField: spec.authSecret has username and password under one key; give usernameKey and passwordKey different values`},
		"an admin is another login": {in(legacy, "legacy-admin", "legacy-auth"),
			`9: InvalidField: spec.admin.name is the authSecret, and the login that rotates changes its own password where there is no admin; leave spec.admin out, or name the Secret of another login`},

		"a pair is two": {in(legacy, "  tls:", "  loginPair: [a]\n  tls:"),
			`10: InvalidField: spec.loginPair has 1 and not two logins; give two, which take turns`},
		"a pair is not one login twice": {in(legacy, "  tls:", "  loginPair: [app, 'APP ']\n  tls:"),
			`10: InvalidField: spec.loginPair names one login twice: most servers make no difference between upper and lower case; give two different logins`},
		"a login has a name": {in(legacy, "  tls:", "  loginPair: [a, '']\n  tls:"),
			`10: InvalidField: spec.loginPair[1] is empty; give the name of a login of SQL Server`},
		"a login's name is not too long": {in(legacy, "  tls:", "  loginPair: [a, "+strings.Repeat("😀", 65)+"]\n  tls:"),
			`10: InvalidField: spec.loginPair[1] has 130 characters, and SQL Server's names have 128 at most; give the name of a login of SQL Server`},
		"a login's name holds no control characters": {in(legacy, "  tls:", "  loginPair: [a, \"b\\n\"]\n  tls:"),
			`10: InvalidField: spec.loginPair[1] has a control character; give the name of a login of SQL Server`},
		"a login of Windows has no password": {in(legacy, "  tls:", "  loginPair: [a, 'CORP\\b']\n  tls:"),
			`10: InvalidField: spec.loginPair[1] has a backslash, as logins of Windows have, and these have no password of their own; give the name of a login of SQL Server`},
		"a pair needs somebody who changes the idle one": {in(legacy, "  admin: {name: legacy-admin}\n", pair),
			`9: MissingField: spec.loginPair needs spec.admin: neither login of a pair may change the other one; give the Secret of a login that may`},
		"a pair is not in a contained database": {in(legacy, "  tls:", pair+"  containedDatabase: shop\n  tls:"),
			`11: InvalidField: spec.containedDatabase and spec.loginPair do not go together; leave one of them out`},
		"grace is for a pair": {in(legacy, "  tls:", "  gracePeriod: 5m\n  tls:"),
			`10: InvalidField: spec.gracePeriod is how long the other login of spec.loginPair stays valid, and there is no pair; leave it out, or give spec.loginPair`},
		"grace is not in the past": {in(legacy, "  tls:", pair+"  gracePeriod: -5m\n  tls:"),
			`11: InvalidField: spec.gracePeriod is not a duration of zero or more; write it with its unit, such as 0s, 90s or 10m`},
		"a database's name is a name": {external + "  containedDatabase: \"a\\tb\"\n",
			`7: InvalidField: spec.containedDatabase has a control character; give the name of a database`},

		"a certificate is checked in one way": {legacy + "    trustServerCertificate: true\n",
			`12: InvalidField: spec.tls.caSecret and spec.tls.trustServerCertificate are both there, and a certificate is checked in one way; keep one of them`},
		"trust is true or false": {legacy + "    trustServerCertificate: yes\n",
			`12: InvalidField: spec.tls.trustServerCertificate is a string and not a boolean; write true or false, without quotes`},
		"an authority has a name": {in(legacy, "{name: legacy-ca}", "{key: tls.crt}"),
			`11: MissingField: spec.tls.caSecret.name is missing; name the Secret with the certificate of the authority`},
		"a server's name is no address with a port": {legacy + "    serverName: sql1:1433\n",
			`12: InvalidField: spec.tls.serverName "sql1:1433" is neither a DNS name nor an IP address; give the name that is in the server's certificate, without a port`},
	} {
		t.Run(story, func(t *testing.T) {
			var said []string
			set := parse(test.content)
			for _, p := range set.AllProblems() {
				said = append(said, p.String())
			}
			require.Equal(t, []string{"rotations/a.yaml:" + test.want}, said)
			requireSilent(t, set.AllProblems()...)
		})
	}

	t.Run("a trust that is false is none", func(t *testing.T) {
		serverOf(t, legacy+"    trustServerCertificate: false\n")
	})
}

func TestWrongCertificates(t *testing.T) {
	const onlyOne = "; give the server's own certificate, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
	certificate := selfSigned(t)
	for story, test := range map[string]struct{ text, want string }{
		"a text is no certificate":    {"hello\n", "InvalidField: spec.tls.certificate is not a certificate in PEM" + onlyOne},
		"a request is not one either": {strings.ReplaceAll(certificate, "CERTIFICATE", "CERTIFICATE REQUEST"), "InvalidField: spec.tls.certificate is not a certificate in PEM" + onlyOne},
		"a chain is more than one":    {certificate + certificate, "InvalidField: spec.tls.certificate holds something after the first certificate, and one server shows one certificate" + onlyOne},
		"what is in it is a certificate": {"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
			"InvalidField: spec.tls.certificate cannot be read: x509: malformed certificate" + onlyOne},
		"a key in Git is leaked": {certificate + "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
			"PlaintextSecret: spec.tls.certificate holds a private key, readable in Git, and in its history: treat it as leaked and never use it again; give the server a new key, and" + strings.TrimPrefix(onlyOne, ";")},
	} {
		t.Run(story, func(t *testing.T) {
			problems := parse(withCertificate(test.text)).AllProblems()
			require.Len(t, problems, 1)
			require.Equal(t, "rotations/a.yaml:11: "+test.want, problems[0].String())
		})
	}
}

func withCertificate(text string) string {
	return strings.Replace(legacy, "caSecret: {name: legacy-ca}\n",
		"certificate: |\n      "+strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n      ")+"\n", 1)
}

func selfSigned(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
