package mssql_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// TestSleeper is a process of its own for the tests below: it opens a session and says so.
func TestSleeper(t *testing.T) {
	address := os.Getenv("SLEEPER_ADDRESS")
	if address == "" {
		t.Skip("it is started by the tests that need it")
	}
	e := mssql.Endpoint{Name: "db-0", Address: address, TLS: mssql.TLS{Any: true}}
	session, err := mssql.Open(t.Context(), e, credential.Credential{Username: os.Getenv("SLEEPER_LOGIN"), Password: password(os.Getenv("SLEEPER_PASSWORD"))})
	require.NoError(t, err)
	defer session.Close()
	_, err = net.Dial("tcp", os.Getenv("SLEEPER_READY"))
	require.NoError(t, err)
	time.Sleep(time.Minute)
}

// sleeper starts another process with a session of a login, which ends with the test.
func sleeper(t *testing.T, server *mssqltest.Instance, login credential.Credential) {
	t.Helper()
	ready, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ready.Close()
	ctx, cancel := context.WithCancel(context.Background())
	process := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSleeper$")
	process.Env = append(os.Environ(), "SLEEPER_ADDRESS="+endpoint(server).Address, "SLEEPER_READY="+ready.Addr().String(),
		"SLEEPER_LOGIN="+login.Username, "SLEEPER_PASSWORD="+login.Password.Reveal())
	require.NoError(t, process.Start())
	t.Cleanup(func() { cancel(); process.Wait() })
	_, err = ready.Accept()
	require.NoError(t, err)
}

func TestWhoTakesOverEndsTheOlderSessionsOfOtherProcessesAndNobodyElses(t *testing.T) {
	server := mssqltest.StandIn(t)
	login := server.CreateLogin(t, "rotator", password("Old-Password-1"), mssqltest.LoginOptions{Permissions: []string{"VIEW SERVER STATE", "ALTER ANY CONNECTION"}})
	own := open(t, endpoint(server), login)
	program := server.Open(t, login)
	require.NoError(t, program.Ping())
	sleeper(t, server, login)
	sleeper(t, server, server.Admin)
	time.Sleep(10 * time.Millisecond) // login_time tells no more than that apart
	later := open(t, endpoint(server), login)

	ended, err := own.EndOlder(t.Context())
	require.NoError(t, err)
	require.Zero(t, ended, "what came later is no predecessor")
	ended, err = later.EndOlder(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, ended)
	require.Eventually(t, func() bool { // the server may still be about it
		ended, err := later.EndOlder(t.Context())
		return err == nil && ended == 0
	}, 10*time.Second, 10*time.Millisecond)
	_, err = own.Facts(t.Context(), "rotator")
	require.NoError(t, err, "this process goes on")
	require.NoError(t, program.Ping(), "another program too")
	count, err := later.Sessions(t.Context(), server.Admin.Username)
	require.NoError(t, err)
	require.Positive(t, count, "another login too")
}

func TestWhoMayNotEndSessionsTakesOverAllTheSame(t *testing.T) {
	for _, permissions := range [][]string{nil, {"VIEW SERVER STATE"}} {
		server := mssqltest.StandIn(t)
		login := server.CreateLogin(t, "rotator", password("Old-Password-1"), mssqltest.LoginOptions{Permissions: permissions})
		sleeper(t, server, login)
		time.Sleep(10 * time.Millisecond)
		session := open(t, endpoint(server), login)
		ended, err := session.EndOlder(t.Context())
		require.NoError(t, err)
		require.Zero(t, ended)
		_, err = session.Facts(t.Context(), "rotator")
		require.NoError(t, err)
	}
	for _, lacking := range []mssqltest.Flavour{mssqltest.FlavourAzureSQLDatabase, mssqltest.FlavourForeign} {
		server := mssqltest.StandIn(t, flavour(lacking))
		_, err := open(t, endpoint(server), server.Admin).EndOlder(t.Context())
		require.NoError(t, err)
	}
}
