package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// colleague is somebody's clone of the repository.
type colleague struct {
	w   *world
	dir string
}

func (w *world) clone() colleague {
	c := colleague{w, w.TempDir()}
	c.git("clone", "--quiet", strings.Replace(w.repo.URL(), "://", "://gitrota:forge-token-1@", 1), ".")
	c.git("config", "user.name", "Dana DBA")
	c.git("config", "user.email", "dana@example.com")
	return c
}

func (c colleague) git(args ...string) string {
	c.w.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = c.dir
	text, err := cmd.CombinedOutput()
	require.NoError(c.w.T, err, string(text))
	return string(text)
}

// rollback writes the manifest that undoes the database's last rotation, pushes it as the command says, and returns its
// name.
func (c colleague) rollback(database string) string {
	c.w.Helper()
	c.git("pull", "--quiet")
	command := c.w.start("rollback", "--repo-dir", c.dir, database)
	require.Equal(c.w.T, 0, command.wait())
	written, _, _ := strings.Cut(strings.TrimPrefix(command.log(), "wrote "), "\n")
	require.FileExists(c.w.T, filepath.Join(c.dir, written))
	c.git("add", written)
	c.git("commit", "--quiet", "-m", "Roll back "+database)
	c.git("push", "--quiet")
	return strings.TrimSuffix(filepath.Base(written), ".yaml")
}

func TestARollbackBringsThePreviousPasswordBackOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.database("db")
	first := w.live("db")
	w.repo.Commit(map[string]string{"rotations/r.yaml": w.request("r", "db")}, "Rotate db")
	agent := w.agent()
	require.Equal(t, "Successful", w.ended("r").phase())
	second, rotated := w.live("db"), w.status("r")
	dana := w.clone()

	back := dana.rollback("db")
	s := w.ended(back)
	require.Equal(t, "Successful", s.phase(), s.why())
	require.Equal(t, first, w.live("db"))
	require.Equal(t, second, w.previous("db"))
	require.True(t, w.opens("db", first))
	require.Equal(t, 2, w.passwordChanges("db"))
	require.Zero(t, w.failedLogins("db"))
	require.Equal(t, "Successfully took the previous credential up again", s.condition("UpdateCredential").Message)
	require.Equal(t, seedOrder, inOrder(s.types(), seedOrder), "it is a rotation, pods included")
	require.Equal(t, rotated, w.status("r"), "the record of what was undone stays")
	require.Contains(t, w.repo.Show(w.statusPath(back)), "kind: RotationRollback")
	require.Equal(t, w.namespace+"/"+back, w.repo.Log()[0].Trailers["Rotation-Request"])
	w.requireKeeper("db-auth-keeper", first, second)
	require.False(t, w.opens("db", second))
	after := w.traces("db")

	manifest := "rotations/" + w.namespace + "/" + back + ".yaml"
	text := w.repo.Show(manifest)
	w.repo.Commit(map[string]string{"rotations/again.yaml": strings.Replace(text, "name: "+back, "name: again", 1)}, "Undo the same rotation under another name")
	again := w.ended("again")
	require.Equal(t, "Denied", again.phase())
	require.Equal(t, "NothingToRollBack", again.condition("Denied").Reason)
	require.Regexp(t, "^the rotation [0-9a-f]{32} is not the latest of MSSQLServer "+w.namespace+"/db any more, so it cannot be undone; see the status files for what came after it$", again.why())

	w.repo.Delete("Tidy", manifest)
	w.repo.Commit(map[string]string{"rotations/moved.yaml": "# once more\n" + text}, "Bring it back elsewhere")
	agent.requireIdle(0)
	require.Equal(t, s, w.status(back))
	require.Equal(t, after, w.traces("db"), "a rollback that was served is served")

	forth := dana.rollback("db")
	require.NotEqual(t, back, forth)
	require.Equal(t, "Successful", w.ended(forth).phase(), w.status(forth).why())
	require.Equal(t, second, w.live("db"), "undone in turn, it brings the newer one back")
	require.Equal(t, 3, w.passwordChanges("db"))
	require.Equal(t, 0, agent.terminate())
}

func TestARollbackOfADatabaseThatWasNeverRotatedIsDenied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, document := w.shop("fresh")
	before := w.kept("fresh-auth")
	w.repo.Commit(map[string]string{"rotations/back.yaml": document + "---\napiVersion: gitrota.dev/v1alpha1\nkind: RotationRollback\n" +
		"metadata: {name: back, namespace: " + w.namespace + "}\nspec:\n  databaseRef: {name: fresh}\n"}, "Roll back fresh")
	require.Equal(t, 1, w.once("--allow-hosts", "127.0.0.1"))
	require.Equal(t, "Denied", w.status("back").phase())
	require.Equal(t, "NothingToRollBack", w.status("back").condition("Denied").Reason)
	require.Equal(t, before, w.kept("fresh-auth"))
	require.True(t, s.lets(before))

	dana := w.clone()
	command := w.start("rollback", "--repo-dir", dana.dir, "fresh")
	<-command.done
	require.Equal(t, 1, command.cmd.ProcessState.ExitCode())
	_, err := os.Stat(filepath.Join(dana.dir, "rotations", w.namespace))
	require.ErrorIs(t, err, os.ErrNotExist, "nothing was written")
}
