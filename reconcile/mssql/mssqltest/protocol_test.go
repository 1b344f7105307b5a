package mssqltest_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// tsql runs FreeTDS's client against server as sa.
func tsql(t *testing.T, server *mssqltest.Server, encryption, input string) string {
	t.Helper()
	path, err := exec.LookPath("tsql")
	require.NoError(t, err, "this test needs FreeTDS's tsql: apt-get install freetds-bin")
	host, port, err := net.SplitHostPort(server.Addr())
	require.NoError(t, err)
	dir := t.TempDir()
	writeFile(t, dir+"/ca.pem", string(server.CertificatePEM()))
	config := "[server]\nhost = " + host + "\nport = " + port + "\ntds version = 7.4\nencryption = " + encryption + "\n"
	if encryption == "require" {
		config += "ca file = " + dir + "/ca.pem\ncheck certificate hostname = yes\n"
	}
	writeFile(t, dir+"/freetds.conf", config)
	cmd := exec.Command(path, "-S", "server", "-U", "sa", "-P", saPassword.Reveal())
	cmd.Env = []string{"FREETDSCONF=" + dir + "/freetds.conf", "LC_ALL=C.UTF-8"}
	cmd.Stdin = strings.NewReader(input)
	out, _ := cmd.CombinedOutput() // its exit code says little: what it printed counts
	return string(out)
}

func TestFreeTDS(t *testing.T) {
	const input = "select name from sys.databases\ngo\nselect * from nothing\ngo\nselect encrypt_option from sys.dm_exec_connections\ngo\n"
	for _, c := range []struct {
		name       string
		server     mssqltest.Encryption
		client     string
		encryption string // as the server sees it; empty: no way in
	}{
		{"no encryption wanted, none forced", mssqltest.EncryptionAvailable, "off", "FALSE"},
		{"the login alone is encrypted", mssqltest.EncryptionAvailable, "request", "FALSE"},
		{"encryption and the right certificate, or nothing", mssqltest.EncryptionAvailable, "require", "TRUE"},
		{"a server that insists", mssqltest.EncryptionForced, "request", "TRUE"},
		{"a server without", mssqltest.EncryptionUnsupported, "request", "FALSE"},
		{"a server without for a client that insists", mssqltest.EncryptionUnsupported, "require", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			options := mssqltest.Options{Encryption: c.server}
			if c.client == "require" {
				options.Certificate = issued(t, "127.0.0.1") // the one that a server makes for itself is for nobody
			}
			out := tsql(t, start(t, options), c.client, input)
			if c.encryption == "" {
				require.Contains(t, out, "There was a problem connecting to the server")
				return
			}
			require.Contains(t, out, "kubedb_system\n(5 rows affected)")
			require.Contains(t, out, "Msg 208 (severity 16, state 1) from mssqltest Line 1:\n\t\"Invalid object name 'nothing'.\"")
			require.Contains(t, out, "encrypt_option\n"+c.encryption+"\n")
		})
	}
}

func TestGoDriver(t *testing.T) {
	for setting, encryption := range map[string]string{
		"encrypt=strict":  "TRUE",
		"encrypt=true":    "TRUE",
		"encrypt=false":   "FALSE", // the login alone is encrypted
		"encrypt=disable": "FALSE",
	} {
		t.Run(setting, func(t *testing.T) {
			target := instance(t, start(t, mssqltest.Options{}))
			db := target.Open(t, target.Admin, setting)
			require.Equal(t, encryption, query[string](t, db, "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID"))
		})
	}
	t.Run("a certificate of somebody else is not trusted", func(t *testing.T) {
		target := instance(t, start(t, mssqltest.Options{Certificate: issued(t, "127.0.0.1")}))
		target.TrustServerCertificate, target.CA = false, start(t, mssqltest.Options{Certificate: issued(t, "127.0.0.1")}).CertificatePEM()
		require.ErrorContains(t, target.Open(t, target.Admin).Ping(), "x509")
		require.ErrorContains(t, target.Open(t, target.Admin, "encrypt=strict").Ping(), "x509")
	})
	t.Run("small packets carry long requests and answers", func(t *testing.T) {
		server := mssqltest.Target(t)
		db := server.Open(t, server.Admin, "packet size=2048")
		long := strings.Repeat("x", 100_000)
		require.Equal(t, long, query[string](t, db, "SELECT @p1", long))
		require.Equal(t, long, query[string](t, db, "SELECT N'"+long+"'"))
	})
	t.Run("a query can be cancelled and the session goes on", func(t *testing.T) {
		server := mssqltest.Target(t)
		db, observer := server.Open(t, server.Admin), server.Open(t, server.Admin)
		db.SetMaxOpenConns(1)
		before := query[int](t, db, "SELECT @@SPID")
		// Not a deadline: the driver takes that for a broken network and gives the connection up.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := db.ExecContext(ctx, "WAITFOR DELAY '00:01:00'")
			ended <- err
		}()
		waitUntilBusy(t, observer, 1)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.Equal(t, before, query[int](t, db, "SELECT @@SPID"))
	})
	t.Run("what is not served is an error, not a hang", func(t *testing.T) {
		target := instance(t, start(t, mssqltest.Options{}))
		db := target.Open(t, target.Admin)
		_, err := db.Exec("sp_who", 1)
		require.EqualValues(t, 2812, number(err))
		require.NoError(t, db.Ping())
		var out string
		_, err = db.Exec("SELECT @p1", sql.Out{Dest: &out})
		require.EqualValues(t, 8009, number(err))
		require.Error(t, db.Ping(), "an error that severe ends the session")
	})
	t.Run("a session that comes back from the pool is as new", func(t *testing.T) {
		server := mssqltest.Target(t)
		db := server.Open(t, server.Admin, "database=msdb")
		db.SetMaxOpenConns(1)
		execute(t, db, "USE master")
		require.Equal(t, "msdb", query[string](t, db, "SELECT DB_NAME()"))
	})
}

func TestRudeClients(t *testing.T) {
	server := start(t, mssqltest.Options{})
	send := func(t *testing.T, data []byte) []byte {
		t.Helper()
		conn, err := net.Dial("tcp", server.Addr())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write(data)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		answer, _ := io.ReadAll(conn) // a reset is an end too
		return answer
	}
	t.Run("something else than TDS ends the connection", func(t *testing.T) {
		require.Empty(t, send(t, []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")))
	})
	t.Run("a message without an end is cut off", func(t *testing.T) {
		packet := append(binary.BigEndian.AppendUint16([]byte{0x12, 0}, 0xFFFF), 0, 0, 1, 0)
		packet = append(packet, make([]byte, 0xFFFF-8)...)
		conn, err := net.Dial("tcp", server.Addr())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write(bytes.Repeat(packet, 300)) // 19 MB
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		require.Error(t, err)
	})
	t.Run("those who connect and say nothing do not keep the server from closing", func(t *testing.T) {
		quiet := start(t, mssqltest.Options{})
		conn, err := net.Dial("tcp", quiet.Addr())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, quiet.Close())
		require.NoError(t, quiet.Close())
	})
	t.Run("the server still serves", func(t *testing.T) {
		target := instance(t, server)
		require.NoError(t, target.Open(t, target.Admin).Ping())
	})
}
