package mssqltest

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
)

// Encryption is what the server says to clients that connect with TDS 7. TDS 8.0 is always served.
type Encryption int

const (
	// EncryptionAvailable encrypts where the client asks for it, and otherwise the login alone. It is the zero value,
	// as it is SQL Server's default.
	EncryptionAvailable Encryption = iota
	// EncryptionForced refuses clients that cannot encrypt, as "forceencryption = 1" does.
	EncryptionForced
	// EncryptionUnsupported has no TLS, so that clients which insist on it must refuse to go on.
	EncryptionUnsupported
)

// Options say how a server starts. The zero value is one on a free port of 127.0.0.1 that forgets everything at its
// end; it still needs an SAPassword.
type Options struct {
	// Addr is where to listen, as "127.0.0.2:1433"; empty is a free port of 127.0.0.1.
	Addr string
	// DataDir is the volume: it keeps master.json and log/errorlog. Empty keeps everything in memory.
	DataDir string
	// SAPassword is MSSQL_SA_PASSWORD: the password that sa gets at the first start. Where DataDir has a master.json
	// already it is ignored, as SQL Server ignores it.
	SAPassword credential.Password
	// ServerName is @@SERVERNAME; empty is "mssqltest".
	ServerName string
	// Certificate serves TLS; nil is one that the server makes for itself at each start, as in [SelfMade] and with a random
	// serial number, which no client can check and Go parses only with x509negativeserial=1.
	Certificate *tls.Certificate
	// Encryption is what clients are told about it.
	Encryption Encryption
	// Flavour is which server it resembles.
	Flavour Flavour
	// Version is the product's version; empty is one of SQL Server 2022, or that of Azure SQL Database.
	Version string

	// Group is the availability group that the server joins before it accepts connections; nil is none.
	Group *Group
	// SyncDelay is how long a secondary needs to be synchronized, after it has joined a group or come back to it.
	SyncDelay time.Duration

	// LockoutThreshold is how many bad passwords lock a login with CHECK_POLICY; 0, as in Linux containers, is never.
	LockoutThreshold int
	// MinPasswordLength of a login with CHECK_POLICY; 0 is 8.
	MinPasswordLength int
	// PasswordHistory is how many passwords a login may not come back to by itself; 0 is none.
	PasswordHistory int
	// MinPasswordAge keeps a login from changing its password again for so long; 0 is none.
	MinPasswordAge time.Duration
	// MaxPasswordAge is when the password of a login with CHECK_EXPIRATION expires; 0 is never.
	MaxPasswordAge time.Duration

	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Faults are in force from the start.
	Faults Faults
	// Log gets what also goes to the errorlog; nil is nowhere.
	Log *slog.Logger
}

const (
	defaultAddr       = "127.0.0.1:0"
	defaultName       = "mssqltest"
	defaultVersion    = "16.0.4175.1"
	azureVersion      = "12.0.2000.8"
	defaultMinLength  = 8
	handshakeDeadline = 15 * time.Second
)

func (o Options) withDefaults() Options {
	if o.Addr == "" {
		o.Addr = defaultAddr
	}
	if o.ServerName == "" {
		o.ServerName = defaultName
	}
	if o.Version == "" && o.Flavour == FlavourAzureSQLDatabase {
		o.Version = azureVersion
	}
	if o.Version == "" {
		o.Version = defaultVersion
	}
	if o.MinPasswordLength == 0 {
		o.MinPasswordLength = defaultMinLength
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) policy() passwordPolicy {
	return passwordPolicy{
		minLength: o.MinPasswordLength,
		history:   o.PasswordHistory,
		minAge:    o.MinPasswordAge,
		maxAge:    o.MaxPasswordAge,
		lockout:   o.LockoutThreshold,
	}
}
