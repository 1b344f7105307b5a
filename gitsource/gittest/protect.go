package gittest

import (
	"os"
	"path/filepath"
)

// Protect makes the server turn down every push to the Repo's branch that comes over HTTP or SSH, with a message, as
// forges do with a protected branch. Other branches, and the pushes of the Repo itself, are not affected.
func (r *Repo) Protect(message string) {
	script := "#!/bin/sh\n[ -n \"$GITTEST_PERSON\" ] && exit 0\n[ \"$1\" = 'refs/heads/" + r.Branch + "' ] || exit 0\ncat >&2 <<'END'\n" + message + "\nEND\nexit 1\n"
	hook := filepath.Join(r.bare, "hooks", "update")
	r.server.must(os.MkdirAll(filepath.Dir(hook), 0o755))
	r.server.must(os.WriteFile(hook, []byte(script), 0o755))
}

// Remove deletes the branch on the server.
func (r *Repo) Remove() { r.server.git(r.bare, nil, "update-ref", "-d", "refs/heads/"+r.Branch) }
