package main

import (
	"database/sql"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/microsoft/go-mssqldb"
	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/kube/kubetest"
)

// asSqlcmd makes this test binary behave as sqlcmd.
const asSqlcmd = "GITROTA_TEST_RUN_SQLCMD"

// commands puts the commands that READMEs ask for on the PATH, and returns the environment with it: gitrota is this test
// binary, kubectl is devcluster's, sops and age-keygen are the tools of go.mod, which are built when they are called for
// the first time. git and openssl are the machine's.
func commands(t *testing.T, cluster *kubetest.Cluster) []string {
	t.Helper()
	root, err := filepath.Abs(topLevel)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	devcluster := os.Getenv("GITROTA_DEVCLUSTER")
	if devcluster == "" {
		devcluster = filepath.Join(root, ".build", "devcluster")
	}
	path := onPath(t, map[string]string{
		"gitrota":    fmt.Sprintf("%s=1 exec %q", asGitrota, self),
		"sqlcmd":     fmt.Sprintf("%s=1 exec %q", asSqlcmd, self),
		"kubectl":    fmt.Sprintf("exec %q kubectl", devcluster),
		"sops":       fmt.Sprintf("exec $(go -C %q tool -n sops)", root),
		"age-keygen": fmt.Sprintf("exec $(go -C %q tool -n age-keygen)", root),
	})
	return []string{path, "KUBECONFIG=" + cluster.Kubeconfig}
}

// onPath returns a PATH on which these programs come first, each of which calls something with its own arguments.
func onPath(t *testing.T, calls map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, call := range calls {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+call+` "$@"`+"\n"), 0o755))
	}
	return "PATH=" + folder + ":" + os.Getenv("PATH")
}

// sqlcmd does what Microsoft's sqlcmd does when it is called with -b -C -S HOST,PORT -U LOGIN -Q STATEMENT, as far as
// statements are concerned that return nothing. The password is in SQLCMDPASSWORD.
func sqlcmd(args []string) int {
	flags := flag.NewFlagSet("sqlcmd", flag.ExitOnError)
	flags.Bool("b", false, "exit with 1 if the statement fails; it always does")
	flags.Bool("C", false, "trust the server's certificate; it always does")
	server, login, statement := flags.String("S", "", ""), flags.String("U", "", ""), flags.String("Q", "", "")
	flags.Parse(args)
	dsn := url.URL{
		Scheme: "sqlserver", User: url.UserPassword(*login, os.Getenv("SQLCMDPASSWORD")), Host: strings.Replace(*server, ",", ":", 1),
		RawQuery: "encrypt=true&TrustServerCertificate=true",
	}
	db, err := sql.Open("sqlserver", dsn.String())
	if err == nil {
		_, err = db.Exec(*statement)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
