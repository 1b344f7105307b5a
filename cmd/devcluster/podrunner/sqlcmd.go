package podrunner

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/gitrota/gitrota/cmd/devcluster/kubedb"
	"github.com/gitrota/gitrota/policies/credential"
)

// sqlcmd is a call of Microsoft's sqlcmd on the pod's own server, which is what probes that look whether SQL Server takes
// logins are made of.
type sqlcmd struct {
	login    credential.Credential
	database string
	query    string
	strict   bool // an error of the query is one of the program
}

// sqlcmdOf reads the command of a probe, as `/opt/mssql-tools18/bin/sqlcmd -C -S localhost -U sa -P ... -Q 'SELECT 1'`. As
// in a container, $MSSQL_SA_PASSWORD is what a shell makes of it, so that it has to be called: sh -c "sqlcmd ...". It is
// false for a command that is something else, or more.
func sqlcmdOf(command []string, env map[string]string) (sqlcmd, bool) {
	words := slices.Clone(command)
	shell := len(words) == 3 && slices.Contains([]string{"sh", "bash"}, path.Base(words[0]))
	if shell && strings.HasPrefix(words[1], "-") && strings.HasSuffix(words[1], "c") {
		var simple bool
		if words, simple = shellWords(words[2], env); !simple {
			return sqlcmd{}, false
		}
	}
	if len(words) == 0 || path.Base(words[0]) != "sqlcmd" {
		return sqlcmd{}, false
	}
	call := sqlcmd{database: "master", login: credential.Credential{
		Username: env["SQLCMDUSER"], Password: credential.NewPassword(env["SQLCMDPASSWORD"]),
	}}
	for i := 1; i < len(words); i++ {
		option, value := words[i], ""
		if len(option) < 2 || option[0] != '-' {
			return sqlcmd{}, false
		}
		if strings.ContainsRune("SUPQqdltho", rune(option[1])) {
			if value = option[2:]; value == "" {
				if i++; i == len(words) {
					return sqlcmd{}, false
				}
				value = words[i]
			}
		}
		switch option[1] {
		case 'S':
			host, _, _ := strings.Cut(strings.TrimPrefix(value, "tcp:"), ",")
			if !slices.Contains([]string{"localhost", "127.0.0.1", "."}, host) {
				return sqlcmd{}, false
			}
		case 'U':
			call.login.Username = value
		case 'P':
			call.login.Password = credential.NewPassword(value)
		case 'd':
			call.database = value
		case 'Q', 'q':
			call.query = value
		case 'b':
			call.strict = true
		}
	}
	return call, true
}

// shellWords are the words of a simple command, as a POSIX shell makes them: quotes, backslashes and $NAME. Output may go
// nowhere, and `|| exit 1` may stand at the end, since it changes nothing. It is false for everything else.
func shellWords(script string, env map[string]string) (words []string, simple bool) {
	script = strings.TrimSuffix(strings.TrimSpace(script), "|| exit 1")
	for _, nowhere := range []string{"2>&1", "2> /dev/null", "2>/dev/null", "> /dev/null", ">/dev/null"} {
		script = strings.TrimSuffix(strings.TrimSpace(script), nowhere)
	}
	var word strings.Builder
	began, quote := false, byte(0)
	for i := 0; i < len(script); i++ {
		c := script[i]
		switch {
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n'):
			if began {
				words = append(words, word.String())
			}
			word.Reset()
			began = false
		case c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, began = c, true
		case c == '\\' && quote != '\'' && i+1 < len(script):
			i++
			began = true
			word.WriteByte(script[i])
		case c == '$' && quote != '\'':
			name, rest := variable(script[i+1:])
			if name == "" {
				return nil, false
			}
			began = true
			word.WriteString(env[name])
			i = len(script) - len(rest) - 1
		case quote == 0 && strings.IndexByte(";|&<>()`*?#", c) >= 0, c == '`' && quote == '"':
			return nil, false
		default:
			began = true
			word.WriteByte(c)
		}
	}
	if began {
		words = append(words, word.String())
	}
	return words, quote == 0
}

// variable reads NAME or {NAME} at the beginning of text.
func variable(text string) (name, rest string) {
	inner, braced := strings.CutPrefix(text, "{")
	end := strings.IndexFunc(inner, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
	if end < 0 {
		end = len(inner)
	}
	name, rest = inner[:end], inner[end:]
	if braced {
		var closed bool
		if rest, closed = strings.CutPrefix(rest, "}"); !closed {
			return "", text
		}
	}
	return name, rest
}

// run logs in to the pod's server from the pod's own address, and runs the query.
func (s sqlcmd) run(ctx context.Context, pod netip.Addr) error {
	config, err := msdsn.Parse(fmt.Sprintf("sqlserver://%s:%d?encrypt=true&trustservercertificate=true&disableretry=true&app+name=SQLCMD",
		pod, kubedb.Port))
	if err != nil {
		return err
	}
	config.User, config.Password, config.Database = s.login.Username, s.login.Password.Reveal(), s.database
	connector := mssql.NewConnectorConfig(config)
	connector.Dialer = bound{ctx, pod}
	db := sql.OpenDB(connector)
	defer db.Close()
	if err := db.PingContext(ctx); err != nil || s.query == "" {
		return err
	}
	if _, err := db.ExecContext(ctx, s.query); err != nil && (s.strict || ctx.Err() != nil) {
		return err
	}
	return nil
}

// bound dials from a pod's address, and its connections end when the context does, which the driver sees to only while
// it dials.
type bound struct {
	ctx context.Context
	pod netip.Addr
}

func (b bound) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(b.pod, 0))}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(b.ctx, func() { conn.Close() })
	return conn, nil
}
