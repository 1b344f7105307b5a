package forgetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// User is an account of the forge.
type User struct {
	Name     string
	Email    string
	Password string
	Token    string // may do everything that the user may

	forge *Forge
}

// User returns the account of that name, and makes it for the first who asks.
func (f *Forge) User(t TB, name string) *User {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if user, ok := f.users[name]; ok {
		return user
	}
	user := &User{Name: name, Email: name + "@example.com", Password: rand.Text(), forge: f}
	f.admin.must(t, http.MethodPost, "/admin/users", map[string]any{
		"username": name, "email": user.Email, "password": user.Password, "must_change_password": false,
	}, nil)
	var token struct {
		Text string `json:"sha1"`
	}
	// Gitea wants the password itself for this.
	user.must(t, http.MethodPost, "/users/"+name+"/tokens", map[string]any{"name": "test", "scopes": []string{"all"}}, &token)
	user.Token = token.Text
	f.users[name] = user
	return user
}

// Ask makes a request of Gitea's API as the user, with a path below /api/v1. It sends in as JSON unless it is nil, and
// reads the answer into out unless that is nil. A refusal is an error that ends in Gitea's words.
func (u *User) Ask(method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, u.forge.URL+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if u.Token == "" {
		req.SetBasicAuth(u.Name, u.Password)
	} else {
		req.Header.Set("Authorization", "token "+u.Token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		var said struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(text, &said)
		return fmt.Errorf("HTTP %s: %s", res.Status, said.Message)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

func (u *User) must(t TB, method, path string, in, out any) {
	t.Helper()
	if err := u.Ask(method, path, in, out); err != nil {
		t.Fatalf("%s: %s %s: %v", u.Name, method, path, err)
	}
}
