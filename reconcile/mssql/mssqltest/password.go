package mssqltest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tds"
	"github.com/gitrota/gitrota/reconcile/mssql/mssqltest/internal/tsql"
)

// maxPasswordLength is counted in UTF-16 units, as SQL Server counts.
const maxPasswordLength = 128

// A passwordHash is 0x0200, four bytes of salt, and the SHA-512 of the password in UTF-16 with the salt after it.
type passwordHash []byte

var hashVersion = []byte{0x02, 0x00}

const (
	saltSize = 4
	hashSize = 2 + saltSize + sha512.Size
)

func newHash(password string) passwordHash {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	return hashWith(password, salt)
}

func hashWith(password string, salt []byte) passwordHash {
	sum := sha512.Sum512(append(tds.EncodeUTF16(password), salt...))
	return append(append(bytes.Clone(hashVersion), salt...), sum[:]...)
}

func (h passwordHash) valid() bool { return len(h) == hashSize && bytes.HasPrefix(h, hashVersion) }

func (h passwordHash) matches(password string) bool {
	if !h.valid() {
		return false
	}
	salt := h[len(hashVersion) : len(hashVersion)+saltSize]
	return subtle.ConstantTimeCompare(hashWith(password, salt), h) == 1
}

// MarshalText and UnmarshalText write a hash as sys.sql_logins shows it.

func (h passwordHash) MarshalText() ([]byte, error) { return []byte("0x" + hex.EncodeToString(h)), nil }

func (h *passwordHash) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(strings.TrimPrefix(string(text), "0x"))
	return err
}

// A passwordPolicy is what mssql.conf says about passwords. It holds for logins with CHECK_POLICY = ON.
type passwordPolicy struct {
	minLength      int
	history        int           // how many passwords must not come again
	minAge, maxAge time.Duration // zero: none
	lockout        int           // how many bad passwords lock a login; zero: never
}

const validationFailed = "Password validation failed. The password does not meet SQL Server password policy requirements because it is "

// check refuses a password that is too short or not complex enough for the login name.
func (p passwordPolicy) check(name, password string) error {
	if units(password) < p.minLength {
		return tsql.Errorf(33062, 16, validationFailed+"too short. The password must be at least %d characters.", p.minLength)
	}
	if units(password) > maxPasswordLength {
		return tsql.Errorf(33063, 16, validationFailed+"too long. The password must be at most %d characters.", maxPasswordLength)
	}
	// A name of one or two letters would be found in too many passwords.
	named := units(name) > 2 && strings.Contains(strings.ToLower(password), strings.ToLower(name))
	if named || characterSets(password) < 3 {
		return p.notComplex()
	}
	return nil
}

func (p passwordPolicy) notComplex() error {
	return tsql.Errorf(33064, 16, validationFailed+"not complex enough. The password must be at least %d characters long and contain characters from three of the following four sets: Uppercase letters, Lowercase letters, Base 10 digits, and Symbols.", p.minLength)
}

// checkChange refuses a password that the owner of l may not change to now: too soon, or one that it had before.
func (p passwordPolicy) checkChange(l *login, password string, now time.Time) error {
	if p.minAge > 0 && now.Sub(l.PasswordSet) < p.minAge {
		return tsql.Errorf(15114, 16, "Password validation failed. The password for the user is too recent to change.")
	}
	for _, old := range l.History {
		if p.history > 0 && old.matches(password) {
			return tsql.Errorf(15115, 16, "Password validation failed. The password cannot be used at this time.")
		}
	}
	return nil
}

// expired reports whether the password of l is too old to log in with.
func (p passwordPolicy) expired(l *login, now time.Time) bool {
	return l.CheckExpiration && p.maxAge > 0 && now.Sub(l.PasswordSet) >= p.maxAge
}

func characterSets(password string) int {
	var upper, lower, digit, other int
	for _, r := range password {
		switch {
		case unicode.IsUpper(r):
			upper = 1
		case unicode.IsLower(r):
			lower = 1
		case '0' <= r && r <= '9':
			digit = 1
		default:
			other = 1
		}
	}
	return upper + lower + digit + other
}

// units counts what SQL Server counts as characters.
func units(s string) int { return len(utf16.Encode([]rune(s))) }
