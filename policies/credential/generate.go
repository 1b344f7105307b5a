package credential

import (
	"fmt"
	"io"
	"math/big"

	"crypto/rand"
)

// GeneratedLength is how many characters a generated password has: 32 of 65 are 192 bits.
const GeneratedLength = 32

// The characters of generated passwords: those that need no quoting in connection strings, URLs, shells, YAML and SQL.
const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
	symbols = "-_."
)

// Generate makes a password of [GeneratedLength] characters from random, which must be crypto/rand.Reader outside of
// tests. It holds all four classes of SQL Server's password policy and begins with a letter, so that no program takes
// it for an option. An error means that random gave none.
func Generate(random io.Reader) (Password, error) {
	text := make([]byte, GeneratedLength)
	for {
		for i := range text {
			alphabet := lower + upper + digits + symbols
			if i == 0 {
				alphabet = lower + upper
			}
			n, err := rand.Int(random, big.NewInt(int64(len(alphabet))))
			if err != nil {
				return Password{}, fmt.Errorf("generating a password: %w", err)
			}
			text[i] = alphabet[n.Int64()]
		}
		// Drawing again, instead of putting the missing class somewhere, keeps every password equally likely.
		if classes(string(text)) == 4 {
			return NewPassword(string(text)), nil
		}
	}
}
