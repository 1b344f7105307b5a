package differential

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/forge/forgetest"
	"github.com/gitrota/gitrota/gitsource/gittest/repoplan"
	"github.com/gitrota/gitrota/policies/credential"
)

var forgeRepositories = flag.Int("forge-repositories", 5, "how many random repositories to read from a forge")

// What is read from a forge, whose Git is configured as forges do and whose hooks judge every push, agrees with what git
// says of a full clone.
func TestRandomRepositoriesOnAForge(t *testing.T) {
	if *forgeRepositories == 0 {
		t.Skip("not asked for")
	}
	forge := forgetest.Start(t)
	owner := forge.User(t, "dana")
	calls := 0
	for n := range uint64(*forgeRepositories) {
		trial := draw(*seed + n)
		trial.plan.Server = repoplan.Server{}
		for i := range trial.plan.Stages {
			stage := &trial.plan.Stages[i]
			// What cannot be pushed from, or is not a user's to push.
			stage.Deleted, stage.Shallow, stage.Partial, stage.Alternates, stage.Maintenance, stage.Refs = false, nil, 0, false, nil, nil
		}
		dir := t.TempDir()
		built, err := trial.plan.Init(filepath.Join(dir, "pushed-from"))
		require.NoError(t, err)
		repo := forge.NewRepo(t, owner, forgetest.RepoOptions{})
		opts := trial.options(repo.URL)
		opts.Auth = gitsource.Auth{Username: owner.Name, Password: credential.NewPassword(owner.Token)}
		r := &reader{trial: trial, built: built, opts: opts, forge: repo}
		r.oracle = &clone{dir: filepath.Join(dir, "clone"), from: r.signedIn()}
		got, err := take(t.Context(), r)
		require.NoError(t, err, trial)
		calls += got.calls
	}
	t.Logf("fuzz-git: forge-repositories=%d differences=0 calls=%d", *forgeRepositories, calls)
}

// signedIn is the address of the repository on the forge, with its owner's credentials.
func (r *reader) signedIn() string {
	return strings.Replace(r.forge.URL, "://", "://"+r.forge.Owner.Name+":"+r.forge.Owner.Token+"@", 1)
}

// fetchFromForge gets what the agent has written to the forge, so that the next push can be on top of it.
func (r *reader) fetchFromForge() error {
	if r.forge == nil || r.built.Stages == 0 {
		return nil
	}
	_, err := r.built.Git("fetch", "--quiet", r.signedIn(), "+refs/heads/main:refs/heads/main")
	return err
}

func (r *reader) pushToForge() error {
	if r.forge == nil {
		return nil
	}
	_, err := r.built.Git("push", "--quiet", "--force", r.signedIn(), "refs/heads/main")
	return err
}
