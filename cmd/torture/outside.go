package main

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/gitrota/gitrota/policies/credential"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest"
)

// outside is a SQL Server outside of the cluster, in this process. Its methods may be called by several goroutines.
type outside struct {
	folder  string
	sa      credential.Password
	address string // once it has been started

	mu      sync.Mutex
	running *mssqltest.Server // nil while it is down
}

// start starts the server on what its folder holds; one that runs is left alone.
func (o *outside) start() (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running != nil {
		return nil
	}
	running, err := mssqltest.Start(mssqltest.Options{DataDir: o.folder, Addr: o.address, SAPassword: o.sa})
	if err == nil {
		o.running, o.address = running, running.Addr()
	}
	return err
}

// stop ends the server as killing its process would; one that is down is left alone.
func (o *outside) stop() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running == nil {
		return nil
	}
	err := o.running.Close()
	o.running = nil
	return err
}

// setFaults has the server misbehave, if it is up.
func (o *outside) setFaults(f mssqltest.Faults) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running != nil {
		o.running.SetFaults(f)
	}
}

// endpoints is the line of a SQLServer document that says where the server is.
func (o *outside) endpoints() string { return fmt.Sprintf("endpoints: [%q]", o.address) }

func (o *outside) createLogin(ctx context.Context, name string, password credential.Password) error {
	host, port, _ := strings.Cut(o.address, ":")
	config, err := msdsn.Parse(fmt.Sprintf("sqlserver://%s:%s?encrypt=true&disableretry=true&dial+timeout=5", host, port))
	if err != nil {
		return err
	}
	config.User, config.Password = "sa", o.sa.Reveal()
	config.TLSConfig = &tls.Config{InsecureSkipVerify: true}
	db := sql.OpenDB(mssql.NewConnectorConfig(config))
	defer db.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err = db.ExecContext(ctx, fmt.Sprintf("CREATE LOGIN [%s] WITH PASSWORD = N'%s'", name, password.Reveal()))
	return err
}
