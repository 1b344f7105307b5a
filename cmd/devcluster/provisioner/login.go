package provisioner

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
	"github.com/gitrota/gitrota/policies/credential"
)

// logIn opens one connection to a server and closes it. The primary of a group is also asked which of the others are
// not in step. It takes any certificate, as KubeDB's health check does, and the timeouts are in the address since a
// context alone does not end a login to a server that is silent.
func logIn(ctx context.Context, address string, login credential.Credential, primary bool) (behind []string, err error) {
	config, err := msdsn.Parse(fmt.Sprintf("sqlserver://%s:%d?database=master&encrypt=true&trustservercertificate=true"+
		"&dial+timeout=2&connection+timeout=2&disableretry=true&app+name=kubedb-health-check", address, kubedb.Port))
	if err != nil {
		return nil, err
	}
	config.User, config.Password = login.Username, login.Password.Reveal()
	db := sql.OpenDB(mssql.NewConnectorConfig(config))
	defer db.Close()
	if !primary {
		return nil, db.PingContext(ctx)
	}
	rows, err := db.QueryContext(ctx, notInStep)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		behind = append(behind, name)
	}
	return behind, rows.Err()
}

const notInStep = `SELECT r.replica_server_name FROM sys.dm_hadr_availability_replica_states AS s
JOIN sys.availability_replicas AS r ON r.replica_id = s.replica_id
WHERE s.synchronization_health_desc <> 'HEALTHY' ORDER BY r.replica_server_name`

// reasonOf is what the server said. Where it said nothing, the error has port numbers in it, which would make every
// report another one.
func reasonOf(err error) string {
	var answer mssql.Error
	var network net.Error
	switch {
	case errors.As(err, &answer):
		return answer.Message
	case errors.As(err, &network), errors.Is(err, io.EOF):
		return "the server does not answer"
	}
	return err.Error()
}
