package main

import (
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf16"
)

// server is what one SQL Server stand-in has on its disk.
type server struct {
	database string
	replica  string
	logins   map[string]login // that rotate
}

// login is one of them.
type login struct {
	hash    string // as sys.sql_logins shows it
	closed  string // why nobody can log in, whatever the password is; "" if one can
	changes int    // of the password, ever
	refused int    // logins, ever
}

// readServer reads what SQL Server would have in master, and in its errorlog.
func readServer(d *database, replica, folder string) (server, error) {
	s := server{database: d.kind, replica: replica, logins: map[string]login{}}
	text, err := os.ReadFile(filepath.Join(folder, "master.json"))
	if err != nil {
		return s, err
	}
	var master struct {
		Logins []struct {
			Name         string
			PrincipalID  int
			PasswordHash string
			IsDisabled   bool
			MustChange   bool
		}
		Attempts map[int]struct{ LockoutTime time.Time }
	}
	if err := json.Unmarshal(text, &master); err != nil {
		return s, err
	}
	log, err := os.ReadFile(filepath.Join(folder, "log", "errorlog"))
	if err != nil {
		return s, err
	}
	for _, name := range d.logins {
		for _, l := range master.Logins {
			if l.Name != name {
				continue
			}
			closed := ""
			switch {
			case l.IsDisabled:
				closed = "it is disabled"
			case l.MustChange:
				closed = "its password has to be changed"
			case !master.Attempts[l.PrincipalID].LockoutTime.IsZero():
				closed = "it is locked"
			}
			s.logins[name] = login{
				hash: l.PasswordHash, closed: closed,
				changes: strings.Count(string(log), "Password of login '"+name+"' was changed"),
				refused: refusals(string(log), name),
			}
		}
	}
	return s, nil
}

// refusals counts the logins that were refused, but for those of the pod's own probe, which come from its own address.
func refusals(log, login string) (n int) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "Login failed for user '"+login+"'") && strings.Contains(line, "[CLIENT: 127.0.0.1]") {
			n++
		}
	}
	return n
}

// matches reports whether a hash, as sys.sql_logins shows it, is that of a password: 0x0200, four bytes of salt, and the
// SHA-512 of the password in UTF-16 with the salt after it.
func matches(hash, password string) bool {
	raw, err := hex.DecodeString(strings.TrimPrefix(hash, "0x"))
	if err != nil || len(raw) != 2+4+sha512.Size || password == "" {
		return false
	}
	var text []byte
	for _, unit := range utf16.Encode([]rune(password)) {
		text = binary.LittleEndian.AppendUint16(text, unit)
	}
	return sha512.Sum512(append(text, raw[2:6]...)) == [sha512.Size]byte(raw[6:])
}
