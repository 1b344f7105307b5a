package gittest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// SigningKey is a key that a person, or the agent, signs commits with. ssh-keygen or gpg has made it.
type SigningKey struct {
	Name   string // as ssh-keygen and gpg fingerprint it: "ssh-ed25519 SHA256:..." or "openpgp 0123..."
	Public string // the line that goes into allowed_signers, after the principals; or the OpenPGP key in its armour
	Dir    string // a folder laid out like the Secret with the private key

	config map[string]string // what git has to be told to sign with it
}

// NewSSHKey makes a key of a type that ssh-keygen knows, such as ed25519. A person can sign with it only when there is
// no passphrase.
func (s *Server) NewSSHKey(kind, passphrase string) *SigningKey {
	dir := s.folder("ssh")
	private := filepath.Join(dir, "identity")
	s.run(nil, "ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", private)
	public := strings.TrimSpace(s.read(private + ".pub"))
	if passphrase != "" {
		s.must(os.WriteFile(filepath.Join(dir, "password"), []byte(passphrase+"\n"), 0o600))
	}
	print := strings.Fields(s.run(nil, "ssh-keygen", "-l", "-f", private))[1]
	return &SigningKey{
		Name: strings.Fields(public)[0] + " " + print, Public: public, Dir: dir,
		config: map[string]string{"gpg.format": "ssh", "user.signingKey": private},
	}
}

// NewOpenPGPKey makes an OpenPGP key that begins on a day and lasts as long as gpg is told, such as 1y or never, with a
// subkey for signing, as many people have.
func (s *Server) NewOpenPGPKey(user, passphrase string, begins time.Time, lasts string) *SigningKey {
	home, err := os.MkdirTemp("", "gnupg") // not below the test's own folder: the path of a socket must be short
	s.must(err)
	s.atEnd(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	gpg := func(args ...string) string {
		return s.run(nil, "gpg", append([]string{
			"--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", passphrase,
		}, args...)...)
	}
	then := "--faked-system-time=" + begins.UTC().Format("20060102T150405")
	gpg(then, "--quick-generate-key", user, "ed25519", "cert", lasts)
	fingerprint := ""
	for _, line := range lines(gpg("--list-keys", "--with-colons")) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			fingerprint = fields[9]
			break
		}
	}
	gpg(then, "--quick-add-key", fingerprint, "ed25519", "sign", lasts)
	dir := s.folder("openpgp")
	s.must(os.WriteFile(filepath.Join(dir, "git.asc"), []byte(gpg("--export-secret-keys", "--armor", fingerprint)), 0o600))
	if passphrase != "" {
		s.must(os.WriteFile(filepath.Join(dir, "passphrase"), []byte(passphrase+"\n"), 0o600))
	}
	program := filepath.Join(home, "gpg.sh")
	script := "#!/bin/sh\nexec gpg --homedir " + home + " --batch --pinentry-mode loopback --passphrase '" + passphrase + "' \"$@\"\n"
	s.must(os.WriteFile(program, []byte(script), 0o700))
	return &SigningKey{
		Name: "openpgp " + fingerprint, Public: gpg("--export", "--armor", fingerprint), Dir: dir,
		config: map[string]string{"gpg.format": "openpgp", "user.signingKey": fingerprint, "gpg.program": program},
	}
}

// SignWith makes the person sign what they commit from now on; nil ends that.
func (r *Repo) SignWith(key *SigningKey) {
	if key == nil {
		r.git("config", "commit.gpgSign", "false")
		return
	}
	r.git("config", "commit.gpgSign", "true")
	for name, value := range key.config {
		r.git("config", name, value)
	}
}

// At returns the same repository, for commits of a person whose clock is at another time.
func (r *Repo) At(now time.Time) *Repo {
	other := *r
	date := now.UTC().Format("2006-01-02T15:04:05Z")
	other.env = []string{"GIT_COMMITTER_DATE=" + date, "GIT_AUTHOR_DATE=" + date}
	return &other
}

// Store puts a commit object into the repository, however odd it is, and returns its hash. No branch has it.
func (r *Repo) Store(object []byte) string {
	cmd := exec.Command("git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin")
	cmd.Dir, cmd.Env, cmd.Stdin = r.bare, gitEnv(), bytes.NewReader(object)
	out, err := cmd.Output()
	r.server.must(err)
	return strings.TrimSpace(string(out))
}

// VerifyCommit asks git itself whether a commit is signed by one of the keys, and returns git's words, and an error if
// it is not. signers are lines of an allowed_signers file; nil for a key of gpg.
func (r *Repo) VerifyCommit(hash string, key *SigningKey, signers string) (string, error) {
	args := []string{"-c", "gpg.ssh.allowedSignersFile=" + r.server.file("allowed_signers", signers)}
	for name, value := range key.config {
		args = append(args, "-c", name+"="+value)
	}
	cmd := exec.Command("git", append(args, "verify-commit", hash)...)
	cmd.Dir, cmd.Env = r.bare, gitEnv()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// folder makes a new folder that ends with the server.
func (s *Server) folder(name string) string {
	dir, err := os.MkdirTemp(s.dir, "."+name+"-")
	s.must(err)
	return dir
}

// file writes a new file that ends with the server.
func (s *Server) file(name, content string) string {
	path := filepath.Join(s.folder(name), name)
	s.must(os.WriteFile(path, []byte(content), 0o600))
	return path
}

func (s *Server) read(path string) string {
	text, err := os.ReadFile(path)
	s.must(err)
	return string(text)
}

func (s *Server) run(env []string, name string, args ...string) string {
	cmd := exec.Command(name, args...)
	cmd.Env = append(gitEnv(), env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		s.fail("%s %s: %v\n%s", name, strings.Join(args, " "), err, said.String())
	}
	return string(out)
}

// SignFile signs a file as ssh-keygen does, in a namespace, and writes the signature beside it: file.sig.
func SignFile(t TB, key *SigningKey, namespace, file string) {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key.config["user.signingKey"], file).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
}
