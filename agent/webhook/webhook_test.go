package webhook_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/agent/webhook"
	"github.com/gitrota/gitrota/policies/credential"
)

const (
	token    = "It's-a-Canary5ecret"
	username = "devops"
	password = "An0ther-Canary5ecret"
)

var now = time.Unix(1_795_000_000, 0)

func secret() webhook.Secret {
	return webhook.Secret{Token: credential.NewPassword(token), Username: username, Password: credential.NewPassword(password)}
}

// receiver is a real HTTP server with the handler, and counts its hints.
type receiver struct {
	url   string
	hints int
	log   bytes.Buffer
}

func receive(t *testing.T, secret func() webhook.Secret) *receiver {
	r := &receiver{}
	server := httptest.NewServer(webhook.New(webhook.Options{
		Secret: secret, Notify: func() { r.hints++ }, Now: func() time.Time { return now },
		Log: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) send(t *testing.T, method, path string, body []byte, headers map[string]string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, bytes.NewReader(body))
	require.NoError(t, err)
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NotContains(t, string(text), "Canary5ecret")
	require.NotContains(t, r.log.String(), "Canary5ecret")
	return res.StatusCode, string(text)
}

func sign(key, text string) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func hexSign(text []byte) string { return hex.EncodeToString(sign(token, string(text))) }

func standard(key, id string, at time.Time, body []byte) map[string]string {
	stamp := strconv.FormatInt(at.Unix(), 10)
	return map[string]string{
		"webhook-id": id, "webhook-timestamp": stamp, "X-Gitlab-Event": "Push Hook",
		"webhook-signature": "v1," + base64.StdEncoding.EncodeToString(sign(key, id+"."+stamp+"."+string(body))),
	}
}

func basic(username, password string) map[string]string {
	return map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))}
}

func example(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	require.NoError(t, err)
	return text
}

func TestAHookOfEachForgeIsAHint(t *testing.T) {
	for forge, headers := range map[string]func([]byte) map[string]string{
		"github": func(b []byte) map[string]string {
			return map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + hexSign(b)}
		},
		"bitbucket": func(b []byte) map[string]string {
			return map[string]string{"X-Event-Key": "repo:push", "X-Hub-Signature": "sha256=" + hexSign(b)}
		},
		"gitea": func(b []byte) map[string]string {
			return map[string]string{"X-Gitea-Event": "push", "X-Gitea-Signature": hexSign(b)}
		},
		"generic": func(b []byte) map[string]string { return map[string]string{"X-Signature": "sha256=" + hexSign(b)} },
		"gitlab": func([]byte) map[string]string {
			return map[string]string{"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": token}
		},
		"azure": func([]byte) map[string]string { return basic(username, password) },
	} {
		t.Run(forge, func(t *testing.T) {
			r := receive(t, secret)
			body := example(t, forge)
			good := headers(body)
			code, says := r.send(t, http.MethodPost, "/hook/"+forge, body, good)
			require.Equal(t, http.StatusAccepted, code, says)
			require.Equal(t, 1, r.hints)

			for name, value := range good {
				if strings.HasSuffix(name, "Event") || strings.HasSuffix(name, "Event-Key") {
					continue
				}
				for story, wrong := range map[string]string{
					"missing": "", "truncated": value[:len(value)-1], "longer": value + "0",
					"of another body": headers([]byte("{}"))[name], "in another case": strings.ToUpper(value),
				} {
					if wrong == value || story == "in another case" && forge != "gitlab" && forge != "azure" {
						continue // hexadecimal may be in upper case, but for its prefix
					}
					code, says := r.send(t, http.MethodPost, "/hook/"+forge, body, map[string]string{name: wrong})
					require.Equal(t, http.StatusUnauthorized, code, "%s: %s", story, wrong)
					require.Contains(t, says, "missing or wrong")
				}
			}
			if forge != "gitlab" && forge != "azure" {
				code, _ = r.send(t, http.MethodPost, "/hook/"+forge, append(body, ' '), good)
				require.Equal(t, http.StatusUnauthorized, code, "the body was changed")
			}
			require.Equal(t, 1, r.hints)
			require.Contains(t, r.log.String(), "a webhook was refused")
		})
	}
}

// RFC 4231, test case 2, pins the signature to something that this test did not compute.
func TestASignatureThatIsKnownFromElsewhere(t *testing.T) {
	r := receive(t, func() webhook.Secret { return webhook.Secret{Token: credential.NewPassword("Jefe")} })
	code, _ := r.send(t, http.MethodPost, "/hook/generic", []byte("what do ya want for nothing?"),
		map[string]string{"X-Signature": "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"})
	require.Equal(t, http.StatusAccepted, code)
}

func TestGitLabsSignatures(t *testing.T) {
	key := "thirty-two bytes of a random key"
	r := receive(t, func() webhook.Secret {
		return webhook.Secret{Token: credential.NewPassword("whsec_" + base64.StdEncoding.EncodeToString([]byte(key)))}
	})
	body := example(t, "gitlab")
	several := standard(key, "1", now, body)
	several["webhook-signature"] = "v1a,xyz v1,AAAA " + several["webhook-signature"]
	for story, test := range map[string]struct {
		headers map[string]string
		code    int
	}{
		"a good one":                 {standard(key, "1", now, body), http.StatusAccepted},
		"a good one among others":    {several, http.StatusAccepted},
		"a few minutes old":          {standard(key, "1", now.Add(-4*time.Minute), body), http.StatusAccepted},
		"too old":                    {standard(key, "1", now.Add(-6*time.Minute), body), http.StatusUnauthorized},
		"of the future":              {standard(key, "1", now.Add(6*time.Minute), body), http.StatusUnauthorized},
		"of another key":             {standard("another", "1", now, body), http.StatusUnauthorized},
		"of another body":            {standard(key, "1", now, nil), http.StatusUnauthorized},
		"nothing but an empty token": {map[string]string{"X-Gitlab-Token": ""}, http.StatusUnauthorized},
	} {
		t.Run(story, func(t *testing.T) {
			code, says := r.send(t, http.MethodPost, "/hook/gitlab", body, test.headers)
			require.Equal(t, test.code, code, says)
		})
	}
}

func TestWhatIsNotAHook(t *testing.T) {
	r := receive(t, secret)
	good := func(b []byte) map[string]string { return map[string]string{"X-Signature": "sha256=" + hexSign(b)} }
	full, over := bytes.Repeat([]byte{'x'}, webhook.MaxBody), bytes.Repeat([]byte{'x'}, webhook.MaxBody+1)
	for story, test := range map[string]struct {
		method, path string
		body         []byte
		code         int
		says         string
	}{
		"another method":          {http.MethodGet, "/hook/generic", nil, http.StatusMethodNotAllowed, "a hook is sent with POST"},
		"an unknown forge":        {http.MethodPost, "/hook/svn", nil, http.StatusNotFound, "there is no such hook: use /hook/github, gitlab, gitea, bitbucket, azure or generic"},
		"no forge":                {http.MethodPost, "/", nil, http.StatusNotFound, "there is no such hook"},
		"a body that is too long": {http.MethodPost, "/hook/generic", over, http.StatusRequestEntityTooLarge, "larger than 1048576 bytes"},
		"a body just short":       {http.MethodPost, "/hook/generic", full, http.StatusAccepted, "polled next"},
	} {
		t.Run(story, func(t *testing.T) {
			code, says := r.send(t, test.method, test.path, test.body, good(test.body))
			require.Equal(t, test.code, code, says)
			require.Contains(t, says, test.says)
		})
	}
	require.Equal(t, 1, r.hints)
}

func TestASecretThatLacksWhatAForgeNeedsLetsNobodyIn(t *testing.T) {
	r := receive(t, func() webhook.Secret { return webhook.Secret{} })
	body := []byte("{}")
	for _, headers := range []map[string]string{
		{"X-Signature": "sha256=" + hex.EncodeToString(sign("", "{}"))}, {"X-Gitlab-Token": ""}, basic("", ""), standard("", "1", now, body),
	} {
		for _, forge := range []string{"generic", "gitlab", "azure"} {
			code, _ := r.send(t, http.MethodPost, "/hook/"+forge, body, headers)
			require.Equal(t, http.StatusUnauthorized, code, "%s %v", forge, headers)
		}
	}
	require.Zero(t, r.hints)
}

func TestASecretThatChangesCountsAtOnce(t *testing.T) {
	current := secret()
	r := receive(t, func() webhook.Secret { return current })
	old := map[string]string{"X-Gitlab-Token": token}
	code, _ := r.send(t, http.MethodPost, "/hook/gitlab", nil, old)
	require.Equal(t, http.StatusAccepted, code)
	current.Token = credential.NewPassword("new")
	code, _ = r.send(t, http.MethodPost, "/hook/gitlab", nil, old)
	require.Equal(t, http.StatusUnauthorized, code)
}

func TestAFloodIsTurnedAway(t *testing.T) {
	r := receive(t, secret)
	turnedAway := 0
	for range 400 {
		code, _ := r.send(t, http.MethodPost, "/hook/gitlab", nil, map[string]string{"X-Gitlab-Token": "guess"})
		if code == http.StatusTooManyRequests {
			turnedAway++
		} else {
			require.Equal(t, http.StatusUnauthorized, code)
		}
	}
	require.NotZero(t, turnedAway)
	require.Less(t, strings.Count(r.log.String(), "was refused"), 10, "one line a minute says as much")
}

func TestLoadSecret(t *testing.T) {
	load := func(values map[string]string) (webhook.Secret, error) {
		dir := t.TempDir()
		for key, value := range values {
			require.NoError(t, os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600))
		}
		return webhook.LoadSecret(dir)
	}
	s, err := load(map[string]string{"token": token + "\n"})
	require.NoError(t, err)
	require.Equal(t, token, s.Token.Reveal())
	s, err = load(map[string]string{"username": username, "password": password})
	require.NoError(t, err)
	require.Equal(t, password, s.Password.Reveal())
	_, err = load(map[string]string{"username": username})
	require.ErrorContains(t, err, "needs both username and password")
	_, err = load(nil)
	require.ErrorContains(t, err, "holds neither the key token nor username and password")
}

// FuzzHook sends anything to every forge: only what is signed with the token may be a hint.
func FuzzHook(f *testing.F) {
	f.Add("github", "X-Hub-Signature-256", "sha256=00", []byte("{}"))
	f.Add("gitlab", "Webhook-Signature", "v1,AA== v1,", []byte("{}"))
	f.Add("gitlab", "X-Gitlab-Token", "guess", []byte(nil))
	f.Add("azure", "Authorization", "Basic OjpA", []byte(nil))
	f.Add("../generic", "X-Signature", "sha256=", []byte("\x00"))
	f.Fuzz(func(t *testing.T, forge, header, value string, body []byte) {
		hints := 0
		handler := webhook.New(webhook.Options{Secret: secret, Notify: func() { hints++ }, Now: func() time.Time { return now }})
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		req.URL.Path = webhook.Path + forge
		req.Header[http.CanonicalHeaderKey(header)] = []string{value}
		req.Header["Webhook-Timestamp"] = []string{strconv.FormatInt(now.Unix(), 10)}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, req)
		require.Zero(t, hints, "%s: %s", header, value)
		require.NotEqual(t, http.StatusAccepted, answer.Code)
		require.NotContains(t, answer.Body.String(), token)
	})
}
