package forge_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/forge"
)

// The answers have the shapes of docs.gitlab.com/api/merge_requests and docs.gitlab.com/api/merge_request_approvals.

const gitlabProject = "/api/v4/projects/acme%2Finfra%2Fdb"

// gitlabMerged is a merge request whose merge was recorded in the given fields.
func gitlabMerged(fields string) string {
	return `{"id": 900, "iid": 7, "state": "merged", "web_url": "https://gitlab.example.com/acme/infra/db/-/merge_requests/7",
		"title": "Rotate prod", "description": "please", "author": {"id": 1, "username": "alice", "name": "Alice"},
		"merged_by": {"username": "bob"}, "merge_user": {"username": "bob"}, "merged_at": "2026-11-20T10:00:00.000Z",
		"updated_at": "2026-11-20T10:00:05.000Z", "source_branch": "rotate", "target_branch": "main",
		"source_project_id": 5, "target_project_id": 5, "sha": "` + second + `", ` + fields + `}`
}

func TestGitLabNamesTheCommitOnTheBaseForEveryWayToMerge(t *testing.T) {
	for name, c := range map[string]struct{ fields, mergedAs string }{
		"a merge":                    {`"merge_commit_sha": "` + merge + `", "squash_commit_sha": null`, merge},
		"a squash that is merged":    {`"merge_commit_sha": "` + merge + `", "squash_commit_sha": "` + first + `"`, merge},
		"a squash, fast-forwarded":   {`"merge_commit_sha": null, "squash_commit_sha": "` + first + `"`, first},
		"a fast-forward of the head": {`"merge_commit_sha": null, "squash_commit_sha": null`, second},
	} {
		f := newFake(t, map[string]string{
			"GET " + gitlabProject + "/merge_requests?order_by=updated_at&page=1&per_page=100&sort=desc&state=merged&target_branch=main&updated_after=2026-11-20T00:00:00Z": "[" + gitlabMerged(c.fields) + "]",
		})
		list, err := f.client(t, forge.GitLab, "acme/infra/db.git").Merged(t.Context(), "main", at("2026-11-20T00:00:00Z"))
		require.NoError(t, err, name)
		require.Equal(t, []forge.PullRequest{{
			Number: 7, Link: "https://gitlab.example.com/acme/infra/db/-/merge_requests/7", Title: "Rotate prod", Body: "please",
			Author: "alice", Head: second, HeadBranch: "rotate", Base: "main", Closed: true, Merged: true,
			MergedAs: c.mergedAs, MergedBy: "bob", MergedAt: at("2026-11-20T10:00:00Z"), Updated: at("2026-11-20T10:00:05Z"),
		}}, list, name)
		require.Equal(t, "Bearer "+canary, f.auth)
	}
}

func TestGitLabApprovalsAreOfTheHeadThatWasThere(t *testing.T) {
	f := newFake(t, map[string]string{
		"GET " + gitlabProject + "/merge_requests/7/approvals": `{"id": 900, "iid": 7, "approved": true, "approved_by": [
			{"user": {"username": "bob"}, "approved_at": "2026-11-20T09:00:00.500Z"},
			{"user": {"username": "carol"}, "approved_at": "2026-11-20T08:00:00.500Z"},
			{"user": {"username": "dave"}},
			{"user": {"username": "erin"}, "approved_at": "2026-11-20T09:10:00.000Z"},
			{"user": {"username": "frank"}, "approved_at": "2026-11-20T08:30:00.000Z"}]}`,
		"GET " + gitlabProject + "/merge_requests/7/versions?page=1&per_page=100": `[
			{"id": 2, "head_commit_sha": "` + second + `", "created_at": "2026-11-20T08:30:00.000Z", "state": "collected"},
			{"id": 1, "head_commit_sha": "` + first + `", "created_at": "2026-11-20T07:00:00.000Z", "state": "collected"}]`,
		"GET " + gitlabProject + "/merge_requests/7/reviewers?page=1&per_page=100": `[
			{"user": {"username": "erin"}, "state": "requested_changes", "created_at": "2026-11-20T06:00:00.000Z"},
			{"user": {"username": "bob"}, "state": "approved", "created_at": "2026-11-20T06:00:00.000Z"}]`,
	})
	list, err := f.client(t, forge.GitLab, "acme/infra/db").Reviews(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, []forge.Review{
		{Author: "erin", State: forge.ChangesRequested},
		{Author: "dave", State: forge.Approved}, // of an older GitLab, which does not say when
		{Author: "carol", State: forge.Approved, Commit: first, At: at("2026-11-20T08:00:00.5Z")},
		{Author: "frank", State: forge.Approved, Commit: first, At: at("2026-11-20T08:30:00Z")}, // in the moment of the push
		{Author: "bob", State: forge.Approved, Commit: second, At: at("2026-11-20T09:00:00.5Z")},
	}, list)
}

func TestGitLabProposesAndTheRest(t *testing.T) {
	opened := `{"iid": 8, "state": "opened", "web_url": "https://gitlab.example.com/8", "title": "Rotate", "author": {"username": "gitrota-bot"},
		"source_branch": "rotate", "target_branch": "main", "source_project_id": 5, "target_project_id": 5, "sha": "` + second + `",
		"merged_at": null, "merge_user": null, "merge_commit_sha": null, "updated_at": "2026-11-21T10:00:00.000Z"}`
	ofAFork := `{"iid": 9, "state": "closed", "source_branch": "rotate", "target_branch": "main", "source_project_id": 6, "target_project_id": 5}`
	f := newFake(t, map[string]string{
		"POST " + gitlabProject + "/merge_requests": opened,
		"GET " + gitlabProject + "/merge_requests?page=1&per_page=100&source_branch=rotate&state=all&target_branch=main": "[" + ofAFork + "," + opened + "]",
		"PUT " + gitlabProject + "/merge_requests/8":                                    opened,
		"GET " + gitlabProject + "/merge_requests/8":                                    opened,
		"GET " + gitlabProject + "/merge_requests/8/diffs?page=1&per_page=100":          `[{"old_path": "old.yaml", "new_path": "new.yaml", "renamed_file": true}]`,
		"GET " + gitlabProject + "/repository/files/rotations%2Fapp.yaml?ref=" + second: `{"file_name": "app.yaml", "blob_id": "` + blob + `", "content": "aGVsbG8K"}`,
		"GET /api/v4/user": `{"id": 3, "username": "gitrota-bot", "name": "Gitrota"}`,
	})
	c := f.client(t, forge.GitLab, "acme/infra/db")
	expected := forge.PullRequest{
		Number: 8, Link: "https://gitlab.example.com/8", Title: "Rotate", Author: "gitrota-bot",
		Head: second, HeadBranch: "rotate", Base: "main", Updated: at("2026-11-21T10:00:00Z"),
	}
	pull, err := c.Propose(t.Context(), forge.Proposal{Branch: "rotate", Base: "main", Title: "Rotate", Body: "due"})
	require.NoError(t, err)
	require.Equal(t, expected, pull)
	pull, err = c.Find(t.Context(), 8)
	require.NoError(t, err)
	require.Equal(t, expected, pull)
	list, err := c.ByBranch(t.Context(), "rotate", "main")
	require.NoError(t, err)
	require.Equal(t, []forge.PullRequest{expected}, list)
	paths, err := c.Changes(t.Context(), 8)
	require.NoError(t, err)
	require.Equal(t, []string{"new.yaml", "old.yaml"}, paths)
	hash, err := c.Blob(t.Context(), second, "rotations/app.yaml")
	require.NoError(t, err)
	require.Equal(t, blob, hash)
	me, err := c.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "gitrota-bot", me)
	require.NotEmpty(t, f.requests())

	require.NoError(t, c.Edit(t.Context(), 8, "Rotate now", ""))
	require.NoError(t, c.Close(t.Context(), 8))
	require.Equal(t, []string{
		"PUT " + gitlabProject + `/merge_requests/8 {"title":"Rotate now"}`,
		"PUT " + gitlabProject + `/merge_requests/8 {"state_event":"close"}`,
	}, f.requests())
}
