package credential

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// GeneratedLength is how many characters a generated password has where no rule says it: 32 of 65 are 192 bits.
const GeneratedLength = 32

// The characters of generated passwords: those that need no quoting in connection strings, URLs, shells, YAML and SQL.
const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
	symbols = "-_."
)

// maxDraws is far more than any rules need that leave something to draw.
const maxDraws = 100_000

// Generate makes a password for a login, from random, which must be crypto/rand.Reader outside of tests. It follows the
// rules, holds every class of SQL Server's password policy that they leave characters of and not the login's name, and
// begins with a letter, so that no program takes it for an option. An error means that the rules cannot be followed, or
// that random gave none.
func Generate(random io.Reader, username string, rules Rules) (Credential, error) {
	if err := rules.Check(); err != nil {
		return Credential{}, fmt.Errorf("generating a password: %w", err)
	}
	all, letters := rules.alphabet(lower+upper+digits+symbols), rules.alphabet(lower+upper)
	text := make([]byte, rules.length())
	for range maxDraws {
		for i := range text {
			alphabet := all
			if i == 0 {
				alphabet = letters
			}
			n, err := rand.Int(random, big.NewInt(int64(len(alphabet))))
			if err != nil {
				return Credential{}, fmt.Errorf("generating a password: %w", err)
			}
			text[i] = alphabet[n.Int64()]
		}
		// Drawing again, instead of putting the missing class somewhere, keeps every password equally likely.
		if classes(string(text)) == classes(all) && !rules.denies(string(text)) && !holdsName(string(text), username) {
			return Credential{Username: username, Password: NewPassword(string(text))}, nil
		}
	}
	return Credential{}, errors.New("generating a password: the deny list, exclude and the login's name leave next to none: take short words out of the deny list")
}
