package gitsource

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/gitrota/gitrota/policies/credential"
)

// GitHubApp is a GitHub App that is installed for the account that owns the repository. With its private key it asks
// GitHub's API for tokens that read and write the repository for an hour. The zero value is no app.
type GitHubApp struct {
	ID                string              // the App's ID, or its client ID
	InstallationID    string              // a number; or
	InstallationOwner string              // the organisation or user whose installation it is
	PrivateKey        credential.Password // RSA, in PEM
	// BaseURL is the API's URL, such as https://github.example.com/api/v3; "" means https://api.github.com. It is never
	// derived from anything that somebody could push.
	BaseURL string
}

const (
	publicGitHubAPI = "https://api.github.com"
	// appUsername is the user name that goes with an installation's token.
	appUsername = "x-access-token"
)

func (g GitHubApp) isZero() bool {
	return g.ID == "" && g.InstallationID == "" && g.InstallationOwner == "" && g.PrivateKey.IsZero() && g.BaseURL == ""
}

var (
	appIDs          = regexp.MustCompile(`^[A-Za-z0-9.]+$`)
	installationIDs = regexp.MustCompile(`^[0-9]+$`)
	accountNames    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// check refuses what cannot work, and what would hand a token to somebody else than GitHub.
func (g GitHubApp) check(to remote, allowPlainHTTP bool) error {
	switch {
	case !appIDs.MatchString(g.ID):
		return errors.New("githubAppID of the Git credentials is missing or is not an App's ID")
	case g.InstallationID == "" && g.InstallationOwner == "":
		return errors.New("the Git credentials hold a GitHub App and neither githubAppInstallationID nor githubAppInstallationOwner: give one of the two")
	case g.InstallationID != "" && g.InstallationOwner != "":
		return errors.New("the Git credentials hold both githubAppInstallationID and githubAppInstallationOwner: keep one of the two")
	case g.InstallationID != "" && !installationIDs.MatchString(g.InstallationID):
		return errors.New("githubAppInstallationID of the Git credentials is not a number")
	case g.InstallationOwner != "" && !accountNames.MatchString(g.InstallationOwner):
		return errors.New("githubAppInstallationOwner of the Git credentials is not the name of an organisation or user")
	case g.BaseURL == "" && to.host != "github.com":
		return fmt.Errorf("githubAppBaseURL is missing in the Git credentials: %s is not on github.com, and only the token of its own API is meant for it", to)
	case g.BaseURL == "":
		return nil
	}
	api, err := parseRemote(g.BaseURL)
	if err != nil || (api.scheme != "https" && api.scheme != "http") {
		return errors.New("githubAppBaseURL of the Git credentials is not an https:// URL, such as https://github.example.com/api/v3")
	}
	if api.scheme == "http" && !api.loopback() && !allowPlainHTTP {
		return errors.New("refusing to ask for a GitHub App's token without encryption: githubAppBaseURL must begin with https://")
	}
	return nil
}

// parseAppKey reads the private key. Its error never quotes it.
func parseAppKey(text credential.Password) (*rsa.PrivateKey, error) {
	if block, _ := pem.Decode([]byte(text.Reveal())); block != nil {
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if any, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := any.(*rsa.PrivateKey); ok {
				return key, nil
			}
		}
	}
	return nil, errors.New("githubAppPrivateKey of the Git credentials is not an RSA private key in PEM, as GitHub generates it")
}

// signJWT makes the App's proof of itself: a JSON Web Token (RFC 7519) signed with RS256, for the next nine minutes, ten
// being the most that GitHub takes. It begins a minute ago, for clocks that differ.
func signJWT(id string, key *rsa.PrivateKey, now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(9 * time.Minute).Unix(), "iss": id})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		return "", err
	}
	return text + "." + encode(signature), nil
}
