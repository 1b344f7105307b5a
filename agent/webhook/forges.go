package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// proof is what a hook comes with, and what it has to fit.
type proof struct {
	secret Secret
	header http.Header
	body   []byte
	now    time.Time
}

// forge is how one forge proves that a hook is its own.
type forge struct {
	proves func(proof) bool
	asks   string // for WWW-Authenticate
	wants  string // what to tell whoever has set the hook up
}

var forges = map[string]forge{
	// GitHub: hexadecimal HMAC-SHA256 of the body, after "sha256=".
	"github": signed("X-Hub-Signature-256", "sha256="),
	// Bitbucket Cloud and Data Center: the same in another header.
	"bitbucket": signed("X-Hub-Signature", "sha256="),
	// Gitea and Forgejo: the same without a prefix.
	"gitea":   signed("X-Gitea-Signature", ""),
	"generic": signed("X-Signature", "sha256="),
	"gitlab": {
		proves: func(p proof) bool { return p.gitLabToken() || p.standardSignature() },
		asks:   "Token",
		wants:  "the header X-Gitlab-Token or webhook-signature is missing or wrong: set the hook's secret token or signing token to the key token of gitrota's webhook Secret",
	},
	"azure": {
		proves: proof.basic,
		asks:   `Basic realm="gitrota", charset="UTF-8"`,
		wants:  "user or password is missing or wrong: set those of the service hook to the keys username and password of gitrota's webhook Secret",
	},
}

// signed is a forge that sends a header with the body's HMAC-SHA256 in hexadecimal.
func signed(header, prefix string) forge {
	return forge{
		proves: func(p proof) bool {
			given, ok := strings.CutPrefix(p.header.Get(header), prefix)
			if !ok || p.secret.Token.IsZero() {
				return false
			}
			signature, err := hex.DecodeString(given)
			return err == nil && hmac.Equal(signature, sum(p.secret.Token.Reveal(), p.body))
		},
		asks:  "HMAC-SHA256",
		wants: "the header " + header + " is missing or wrong: set the hook's secret to the key token of gitrota's webhook Secret",
	}
}

// gitLabToken checks GitLab's older way: the secret itself is in a header.
func (p proof) gitLabToken() bool {
	token := p.secret.Token.Reveal()
	return token != "" && same(p.header.Get("X-Gitlab-Token"), token)
}

// clockDifference is how far a signature's time may be from ours.
const clockDifference = 5 * time.Minute

// standardSignature checks GitLab's newer way, which is that of Standard Webhooks: the header webhook-signature holds,
// separated by blanks, one or more of "v1," and the base64 HMAC-SHA256 of id, time and body.
func (p proof) standardSignature() bool {
	token := p.secret.Token.Reveal()
	id, at := p.header.Get("Webhook-Id"), p.header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if token == "" || err != nil || p.now.Sub(time.Unix(seconds, 0)).Abs() > clockDifference {
		return false
	}
	if encoded, ok := strings.CutPrefix(token, "whsec_"); ok {
		if key, err := base64.StdEncoding.DecodeString(encoded); err == nil && len(key) > 0 {
			token = string(key)
		}
	}
	want := sum(token, []byte(id+"."+at+"."), p.body)
	found := false
	for _, given := range strings.Fields(p.header.Get("Webhook-Signature")) {
		encoded, ok := strings.CutPrefix(given, "v1,")
		signature, err := base64.StdEncoding.DecodeString(encoded)
		found = found || ok && err == nil && hmac.Equal(signature, want)
	}
	return found
}

// basic checks Azure DevOps's way, HTTP basic authentication.
func (p proof) basic() bool {
	if p.secret.Username == "" || p.secret.Password.IsZero() {
		return false
	}
	username, password, ok := (&http.Request{Header: p.header}).BasicAuth()
	return same(username, p.secret.Username) && same(password, p.secret.Password.Reveal()) && ok
}

// sum is the HMAC-SHA256 of the parts, one after the other.
func sum(key string, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}
