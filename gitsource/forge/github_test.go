package forge_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/forge"
)

// The answers have the shapes of docs.github.com/en/rest/pulls, reduced to what is read and what could be confused with it.

const githubMerged = `{
	"number": 7, "state": "closed", "html_url": "https://github.com/acme/db/pull/7", "title": "Rotate prod", "body": "please",
	"user": {"login": "alice", "id": 1}, "merged_at": "2026-11-20T10:00:00Z", "updated_at": "2026-11-20T10:00:05Z",
	"merge_commit_sha": "` + merge + `",
	"head": {"label": "acme:rotate", "ref": "rotate", "sha": "` + second + `", "repo": {"full_name": "acme/db"}},
	"base": {"label": "acme:main", "ref": "main", "sha": "` + first + `", "repo": {"full_name": "acme/db"}}}`

const githubOpen = `{
	"number": 8, "state": "open", "html_url": "https://github.com/acme/db/pull/8", "title": "Rotate test", "body": null,
	"user": {"login": "gitrota-bot"}, "merged_at": null, "updated_at": "2026-11-21T10:00:00Z", "merge_commit_sha": "` + first + `",
	"head": {"label": "acme:rotate", "ref": "rotate", "sha": "` + second + `", "repo": {"full_name": "acme/db"}},
	"base": {"label": "acme:main", "ref": "main"}}`

const githubOfAFork = `{
	"number": 9, "state": "closed", "title": "Not ours", "user": {"login": "mallory"}, "merged_at": null, "updated_at": "2026-11-19T10:00:00Z",
	"head": {"label": "acme:rotate", "ref": "rotate", "sha": "` + first + `", "repo": {"full_name": "acme/db-fork"}},
	"base": {"ref": "main"}}`

var githubPulls = "GET /api/v3/repos/acme/db/pulls?"

func TestGitHubListsWhatWasMergedAndNothingElse(t *testing.T) {
	f := newFake(t, map[string]string{
		githubPulls + "base=main&direction=desc&page=1&per_page=100&sort=updated&state=closed": "[" + githubMerged + "," + githubOfAFork + "]",
	})
	list, err := f.client(t, forge.GitHub, "acme/db").Merged(t.Context(), "main", at("2026-11-20T00:00:00Z"))
	require.NoError(t, err)
	require.Equal(t, []forge.PullRequest{{
		Number: 7, Link: "https://github.com/acme/db/pull/7", Title: "Rotate prod", Body: "please", Author: "alice",
		Head: second, HeadBranch: "rotate", Base: "main", Closed: true, Merged: true,
		MergedAs: merge, MergedAt: at("2026-11-20T10:00:00Z"), Updated: at("2026-11-20T10:00:05Z"),
	}}, list)
	require.Len(t, f.requests(), 1)
	require.Equal(t, "Bearer "+canary, f.auth)
}

func TestGitHubTellsWhoMergedWhenAskedForOne(t *testing.T) {
	f := newFake(t, map[string]string{
		"GET /api/v3/repos/acme/db/pulls/7": `{"merged_by": {"login": "bob"},` + githubMerged[1:],
	})
	found, err := f.client(t, forge.GitHub, "acme/db").Find(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, "bob", found.MergedBy)
}

func TestGitHubListsOwnBranchesOnlyAndNewestFirst(t *testing.T) {
	f := newFake(t, map[string]string{
		githubPulls + "base=main&head=acme:rotate&page=1&per_page=100&state=all": "[" + githubOfAFork + "," + githubMerged + "," + githubOpen + "]",
	})
	list, err := f.client(t, forge.GitHub, "acme/db").ByBranch(t.Context(), "rotate", "main")
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, forge.PullRequest{
		Number: 8, Link: "https://github.com/acme/db/pull/8", Title: "Rotate test", Author: "gitrota-bot",
		Head: second, HeadBranch: "rotate", Base: "main", Updated: at("2026-11-21T10:00:00Z"),
	}, list[0], "an attempt to merge is no merge")
	require.Equal(t, 7, list[1].Number)
}

func TestGitHubReviewsHaveTheirCommit(t *testing.T) {
	review := func(id, login, state, commit, submitted string) string {
		return `{"id": ` + id + `, "user": {"login": "` + login + `"}, "state": "` + state + `", "commit_id": "` + commit + `",
			"html_url": "https://github.com/acme/db/pull/7#pullrequestreview-` + id + `", "submitted_at": "` + submitted + `"}`
	}
	f := newFake(t, map[string]string{
		"GET /api/v3/repos/acme/db/pulls/7/reviews?page=1&per_page=100": "[" +
			review("2", "bob", "APPROVED", second, "2026-11-20T09:00:00Z") + "," +
			review("1", "carol", "CHANGES_REQUESTED", first, "2026-11-20T08:00:00Z") + "," +
			review("3", "dave", "DISMISSED", first, "2026-11-20T09:30:00Z") + "," +
			review("4", "erin", "COMMENTED", second, "2026-11-20T09:40:00Z") + "," +
			`{"id": 5, "user": {"login": "frank"}, "state": "PENDING", "commit_id": "` + second + `"}]`,
	})
	list, err := f.client(t, forge.GitHub, "acme/db").Reviews(t.Context(), 7)
	require.NoError(t, err)
	link := "https://github.com/acme/db/pull/7#pullrequestreview-"
	require.Equal(t, []forge.Review{
		{Author: "carol", State: forge.ChangesRequested, Commit: first, Link: link + "1", At: at("2026-11-20T08:00:00Z")},
		{Author: "bob", State: forge.Approved, Commit: second, Link: link + "2", At: at("2026-11-20T09:00:00Z")},
		{Author: "dave", State: forge.Dismissed, Commit: first, Link: link + "3", At: at("2026-11-20T09:30:00Z")},
		{Author: "erin", State: forge.Commented, Commit: second, Link: link + "4", At: at("2026-11-20T09:40:00Z")},
	}, list)
}

func TestGitHubFilesAndBlobs(t *testing.T) {
	f := newFake(t, map[string]string{
		"GET /api/v3/repos/acme/db/pulls/7/files?page=1&per_page=100": `[
			{"sha": "` + blob + `", "filename": "new.yaml", "status": "renamed", "previous_filename": "old.yaml"}, {"filename": "a.yaml", "status": "added"}]`,
		"GET /api/v3/repos/acme/db/contents/rotations/my%20app.yaml?ref=" + second: `{"type": "file", "sha": "` + blob + `", "content": "aGVsbG8K"}`,
		"GET /api/v3/repos/acme/db/contents/rotations?ref=" + second:               `[{"type": "file", "sha": "` + blob + `"}]`,
	})
	c := f.client(t, forge.GitHub, "acme/db")
	paths, err := c.Changes(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, []string{"a.yaml", "new.yaml", "old.yaml"}, paths)

	for path, expected := range map[string]string{"rotations/my app.yaml": blob, "rotations": "", "nowhere.yaml": ""} {
		hash, err := c.Blob(t.Context(), second, path)
		require.NoError(t, err)
		require.Equal(t, expected, hash, path)
	}
}

func TestGitHubProposesEditsClosesAndKnowsItself(t *testing.T) {
	f := newFake(t, map[string]string{
		"POST /api/v3/repos/acme/db/pulls":    githubOpen,
		"PATCH /api/v3/repos/acme/db/pulls/8": githubOpen,
		"GET /api/v3/user":                    `{"login": "gitrota-bot", "id": 3}`,
	})
	c := f.client(t, forge.GitHub, "acme/db")
	opened, err := c.Propose(t.Context(), forge.Proposal{Branch: "rotate", Base: "main", Title: "Rotate test", Body: "due"})
	require.NoError(t, err)
	require.Equal(t, 8, opened.Number)
	require.Equal(t, second, opened.Head)
	require.False(t, opened.Closed)
	require.NoError(t, c.Edit(t.Context(), 8, "Rotate test", "overdue"))
	require.NoError(t, c.Close(t.Context(), 8))
	me, err := c.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "gitrota-bot", me)
	require.Equal(t, []string{
		`POST /api/v3/repos/acme/db/pulls {"title":"Rotate test","body":"due","head":"rotate","base":"main"}`,
		`PATCH /api/v3/repos/acme/db/pulls/8 {"title":"Rotate test","body":"overdue"}`,
		`PATCH /api/v3/repos/acme/db/pulls/8 {"state":"closed"}`,
		`GET /api/v3/user`,
	}, f.requests())
}

func TestAListWithoutEndIsAnError(t *testing.T) {
	f := newFake(t, nil)
	f.server.Config.Handler = endless{githubMerged}
	_, err := f.client(t, forge.GitHub, "acme/db").Merged(t.Context(), "main", time.Time{})
	require.ErrorIs(t, err, forge.ErrTooMany)
	require.ErrorContains(t, err, "listing the pull requests that were merged into main at github")
	require.ErrorContains(t, err, "the list is too long: it is more than 20 pages")
}
