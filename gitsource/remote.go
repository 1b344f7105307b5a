package gitsource

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// remote is where a repository lives.
type remote struct {
	scheme string // "https", "http" or "ssh"
	user   string // for SSH; "git" unless the URL says otherwise
	host   string // without brackets
	port   string // "" for the scheme's own
	path   string
}

// shortSSH is the form user@host:path, in which path does not begin with a slash-slash.
var shortSSH = regexp.MustCompile(`^(?:([^@/:\s]+)@)?([^@/:\s]+):([^\s]+)$`)

// parseRemote reads a URL and refuses the forms that would be unsafe. Its errors do not quote the URL, which may hold
// a password.
func parseRemote(raw string) (remote, error) {
	if !strings.Contains(raw, "://") {
		if m := shortSSH.FindStringSubmatch(raw); m != nil && !strings.HasPrefix(m[3], "//") {
			return checkSSHRemote(remote{scheme: "ssh", user: orGit(m[1]), host: m[2], path: m[3]})
		}
		return remote{}, errors.New("the Git URL is not an https:// or ssh:// URL: a path on disk cannot be served")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return remote{}, errors.New("the Git URL cannot be parsed: give https://host/path, ssh://git@host/path or git@host:path")
	}
	if _, has := u.User.Password(); has {
		return remote{}, errors.New("the Git URL holds a password, which would show in process lists and manifests: " +
			"put it into the Secret with the Git credentials")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return remote{}, errors.New("the Git URL has a query or a fragment, which no Git server takes")
	}
	if u.Hostname() == "" && u.Scheme != "file" {
		return remote{}, errors.New("the Git URL names no host")
	}
	at := remote{scheme: u.Scheme, host: u.Hostname(), port: u.Port(), path: u.Path}
	switch u.Scheme {
	case "https", "http":
		return at, nil
	case "ssh":
		at.user = orGit(u.User.Username())
		// As git does: ssh://host/~somebody/repo is relative to that home.
		if strings.HasPrefix(at.path, "/~") {
			at.path = at.path[1:]
		}
		return checkSSHRemote(at)
	}
	return remote{}, fmt.Errorf("the Git URL has the scheme %q: only https, http and ssh are read", u.Scheme)
}

// checkSSHRemote refuses what a server could take for an option.
func checkSSHRemote(at remote) (remote, error) {
	if strings.HasPrefix(at.path, "-") || strings.HasPrefix(at.host, "-") || strings.HasPrefix(at.user, "-") || at.path == "" {
		return remote{}, errors.New("the Git URL has no path, or a part that begins with a dash")
	}
	return at, nil
}

func orGit(user string) string {
	if user == "" {
		return "git"
	}
	return user
}

// String returns the URL, without a password.
func (r remote) String() string {
	u := url.URL{Scheme: r.scheme, Host: r.host, Path: r.path}
	if r.port != "" || strings.Contains(r.host, ":") {
		u.Host = strings.TrimSuffix(net.JoinHostPort(r.host, r.port), ":")
	}
	if r.scheme == "ssh" {
		u.User = url.User(r.user)
	}
	return u.String()
}

func (r remote) portOr(standard string) string {
	if r.port == "" {
		return standard
	}
	return r.port
}

// loopback reports whether the remote is this machine.
func (r remote) loopback() bool {
	if r.host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(r.host)
	return err == nil && ip.IsLoopback()
}
