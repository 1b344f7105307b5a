package mssql

import (
	"net"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/gitrota/gitrota/policies/credential"
)

// Endpoint is one server. Connections are always encrypted, for ALTER LOGIN carries the password in its text.
type Endpoint struct {
	Name    string // how messages call it, for example the pod's name
	Address string // host:port
	// Database is where sessions begin; empty is master. In a contained database, logins are its users; in a database of a
	// contained availability group, they are those of the group.
	Database string
	// Contained: the login is a user of Database, which ALTER USER changes.
	Contained bool
	TLS       TLS
}

func configFor(endpoint Endpoint, login credential.Credential) (msdsn.Config, error) {
	host, port, err := net.SplitHostPort(endpoint.Address)
	if err != nil {
		return msdsn.Config{}, err
	}
	// Parse fills what a literal Config would leave nil; the credential goes in afterwards so that no quoting is needed.
	config, err := msdsn.Parse("sqlserver://" + net.JoinHostPort(host, port) +
		"?encrypt=true&disableretry=true&protocol=tcp&app+name=gitrota&database=master")
	if err != nil {
		return msdsn.Config{}, err
	}
	if endpoint.Database != "" {
		config.Database = endpoint.Database
	}
	config.User, config.Password = login.Username, login.Password.Reveal()
	config.TLSConfig = endpoint.TLS.config(host)
	config.TrustServerCertificate = endpoint.TLS.Any
	config.HostInCertificateProvided = true
	return config, nil
}
