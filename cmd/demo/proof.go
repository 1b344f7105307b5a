package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitrota/gitrota/policies/credential"
)

// The seed's database.
const (
	namespace  = "demo"
	database   = "mssqlserver-quickstart"
	pod        = database + "-0"
	authSecret = database + "-auth"
)

// loginFailed is SQL Server's number for a login with a wrong password.
const loginFailed = 18456

// authData is the auth Secret as everybody reads it.
func (w *world) authData(ctx context.Context) (live, previous credential.Credential, err error) {
	secret, err := w.cluster.Client.CoreV1().Secrets(namespace).Get(ctx, authSecret, metav1.GetOptions{})
	if err != nil {
		return live, previous, err
	}
	read := func(suffix string) credential.Credential {
		password := credential.NewPassword(string(secret.Data["password"+suffix]))
		if !password.IsZero() {
			w.seen = append(w.seen, password)
		}
		return credential.Credential{Username: string(secret.Data["username"+suffix]), Password: password}
	}
	return read(""), read(".prev"), nil
}

// podIP is where the server is now. A pod that was restarted may have another address.
func (w *world) podIP(ctx context.Context) (string, error) {
	p, err := w.cluster.Client.CoreV1().Pods(namespace).Get(ctx, pod, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return p.Status.PodIP, nil
}

// logIn logs in like any client, over go-mssqldb and not through gitrota, and returns the databases that it sees.
func (w *world) logIn(ctx context.Context, login credential.Credential) ([]string, error) {
	ip, err := w.podIP(ctx)
	if err != nil {
		return nil, err
	}
	config, err := msdsn.Parse("sqlserver://" + net.JoinHostPort(ip, "1433") + "?encrypt=true&TrustServerCertificate=true&disableretry=true&app+name=demo")
	if err != nil {
		return nil, err
	}
	config.User, config.Password = login.Username, login.Password.Reveal()
	db := sql.OpenDB(mssql.NewConnectorConfig(config))
	defer db.Close()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	rows, err := db.QueryContext(ctx, "SELECT name FROM sys.databases")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// proveRotated checks that the auth Secret holds another password than before, that it logs in, and that the one from
// before does not. It returns the credential that is live now.
func proveRotated(ctx context.Context, out *screen, w *world, before credential.Credential) (credential.Credential, error) {
	live, previous, err := w.authData(ctx)
	if err != nil {
		return live, err
	}
	if live.Password == before.Password {
		return live, errors.New("the auth Secret holds the same password as before")
	}
	if previous != before {
		return live, errors.New("username.prev and password.prev of the auth Secret are not what was live before")
	}
	out.held(fmt.Sprintf("the Secret %s/%s has a new password, and the one from before under password.prev", namespace, authSecret))
	databases, err := w.logIn(ctx, live)
	if err != nil {
		return live, fmt.Errorf("the new password does not log in: %w", err)
	}
	out.held(fmt.Sprintf("%s logs in to %s with the new password and sees %s", live.Username, pod, strings.Join(databases, ", ")))
	_, err = w.logIn(ctx, before)
	var refused mssql.Error
	if !errors.As(err, &refused) || refused.Number != loginFailed {
		return live, fmt.Errorf("the previous password should be refused with error %d, and what came is: %v", loginFailed, err)
	}
	out.held(fmt.Sprintf("the previous password is refused with error %d: %s", refused.Number, strings.TrimPrefix(refused.Message, "login error: ")))
	return live, nil
}
