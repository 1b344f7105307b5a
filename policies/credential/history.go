package credential

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"slices"
)

// DigestCost is how many rounds a digest takes outside of tests: a tenth of a second or so, for whoever guesses as well.
const DigestCost = 600_000

// maxCost bounds what a digest that was read may ask for.
const maxCost = 10 * DigestCost

// Digest stands for a password that was live once: PBKDF2 with SHA-256 and a salt of its own. It tells whether a password
// is that one, and nothing else. Its JSON form is what a keeper remembers.
type Digest struct {
	Salt  []byte `json:"salt"`
	Cost  int    `json:"cost"`
	Value []byte `json:"value"`
}

// Of reports whether the digest is that of a password. It takes its time.
func (d Digest) Of(p Password) bool {
	value, err := derive(p, d.Salt, d.Cost)
	return err == nil && subtle.ConstantTimeCompare(value, d.Value) == 1
}

func digest(p Password, cost int, random io.Reader) (Digest, error) {
	d := Digest{Salt: make([]byte, 16), Cost: cost}
	if _, err := io.ReadFull(random, d.Salt); err != nil {
		return Digest{}, fmt.Errorf("making the digest of a password: %w", err)
	}
	var err error
	d.Value, err = derive(p, d.Salt, cost)
	return d, err
}

func derive(p Password, salt []byte, cost int) ([]byte, error) {
	if cost < 1 || cost > maxCost {
		return nil, fmt.Errorf("making the digest of a password: its cost is %d, and not from 1 to %d", cost, maxCost)
	}
	value, err := pbkdf2.Key(sha256.New, p.Reveal(), salt, cost, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("making the digest of a password: %w", err)
	}
	return value, nil
}

// History is the digests of the last passwords of a database, the newest last, each password once. The zero value is
// no past.
type History []Digest

// Contains reports whether a password is one of those in the history.
func (h History) Contains(p Password) bool { return h.find(p) >= 0 }

// Last returns the newest n.
func (h History) Last(n int) History { return h[max(0, len(h)-n):] }

// Add returns the history with a password as its newest, of which it keeps the last so many. Where the password is in it
// already, it moves. The cost is [DigestCost] outside of tests; random gives the salt.
func (h History) Add(p Password, cost int, random io.Reader, keep int) (History, error) {
	added, err := digest(p, cost, random)
	if err != nil {
		return nil, err
	}
	longer := slices.Clone(h)
	if i := h.find(p); i >= 0 {
		longer = slices.Delete(longer, i, i+1)
	}
	return append(longer, added).Last(keep), nil
}

// find begins with the newest, which is asked for most.
func (h History) find(p Password) int {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].Of(p) {
			return i
		}
	}
	return -1
}
