package forge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/forge"
)

// The answers have the shapes of developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests. Hashes in pull
// requests are twelve digits there.

const bitbucketRepo = "/2.0/repositories/acme/db"

func bitbucketPull(number, state, more string) string {
	return `{"type": "pullrequest", "id": ` + number + `, "state": "` + state + `", "title": "Rotate prod", "description": "please",
		"author": {"type": "user", "account_id": "557058:alice", "nickname": "bob", "uuid": "{a}"},
		"links": {"html": {"href": "https://bitbucket.org/acme/db/pull-requests/` + number + `"}}, "updated_on": "2026-11-20T10:00:05.000000+00:00",
		"source": {"branch": {"name": "rotate"}, "commit": {"hash": "222222222222"}, "repository": {"full_name": "acme/db"}},
		"destination": {"branch": {"name": "main"}, "commit": {"hash": "111111111111"}, "repository": {"full_name": "acme/db"}}` + more + `}`
}

const bitbucketActivity = `{"pagelen": 50, "values": [
	{"update": {"state": "MERGED", "date": "2026-11-20T10:00:00.000000+00:00", "source": {"commit": {"hash": "222222222222"}, "repository": {"full_name": "acme/db"}}}},
	{"approval": {"date": "2026-11-20T09:00:00.000000+00:00", "user": {"account_id": "557058:bob", "nickname": "alice"}}},
	{"update": {"state": "OPEN", "date": "2026-11-20T08:30:00.000000+00:00", "source": {"commit": {"hash": "222222222222"}, "repository": {"full_name": "acme/db"}}}},
	{"changes_requested": {"date": "2026-11-20T08:10:00.000000+00:00", "user": {"account_id": "557058:dave"}}},
	{"approval": {"date": "2026-11-20T08:05:00.000000+00:00", "user": {"account_id": "557058:erin"}}},
	{"comment": {"user": {"account_id": "557058:dave"}, "content": {"raw": "hm"}}}],
	"next": "HOST` + bitbucketRepo + `/pullrequests/7/activity?page=2"}`

const bitbucketActivity2 = `{"pagelen": 50, "values": [
	{"approval": {"date": "2026-11-20T08:00:00.000000+00:00", "user": {"account_id": "557058:carol"}}},
	{"approval": {"date": "2026-11-20T07:30:00.000000+00:00", "user": {"account_id": "557058:bob"}}},
	{"update": {"state": "OPEN", "date": "2026-11-20T07:00:00.000000+00:00", "source": {"commit": {"hash": "111111111111"}, "repository": {"full_name": "acme/db"}}}}]}`

func bitbucketAnswers() map[string]string {
	return map[string]string{
		"GET " + bitbucketRepo + "/pullrequests/7/activity?pagelen=50": bitbucketActivity,
		"GET " + bitbucketRepo + "/pullrequests/7/activity?page=2":     bitbucketActivity2,
		"GET " + bitbucketRepo + "/commit/111111111111":                `{"hash": "` + first + `"}`,
		"GET " + bitbucketRepo + "/commit/222222222222":                `{"hash": "` + second + `"}`,
		"GET " + bitbucketRepo + "/commit/333333333333":                `{"hash": "` + merge + `"}`,
	}
}

func TestBitbucketListsWhatWasMergedWithFullHashes(t *testing.T) {
	answers := bitbucketAnswers()
	answers["GET "+bitbucketRepo+`/pullrequests?pagelen=50&q=state = "MERGED" AND destination.branch.name = "main" AND updated_on >= 2026-11-20T00:00:00+00:00&sort=-updated_on`] =
		`{"values": [` + bitbucketPull("7", "MERGED", `, "merge_commit": {"hash": "333333333333"}, "closed_by": {"account_id": "557058:bob"}`) + `]}`
	f := newFake(t, answers)
	list, err := f.client(t, forge.Bitbucket, "acme/db").Merged(t.Context(), "main", at("2026-11-20T00:00:00Z"))
	require.NoError(t, err)
	require.Equal(t, []forge.PullRequest{{
		Number: 7, Link: "https://bitbucket.org/acme/db/pull-requests/7", Title: "Rotate prod", Body: "please", Author: "557058:alice",
		Head: second, HeadBranch: "rotate", Base: "main", Closed: true, Merged: true,
		MergedAs: merge, MergedBy: "557058:bob", MergedAt: at("2026-11-20T10:00:00Z"), Updated: at("2026-11-20T10:00:05Z"),
	}}, list)
	require.Equal(t, "Bearer "+canary, f.auth)
}

func TestBitbucketReviewsAreTheStandingOnesAndOfTheHeadThatWasThere(t *testing.T) {
	answers := bitbucketAnswers()
	answers["GET "+bitbucketRepo+"/pullrequests/7"] = bitbucketPull("7", "MERGED", `, "participants": [
		{"role": "REVIEWER", "approved": true, "state": "approved", "user": {"account_id": "557058:bob", "nickname": "alice"}},
		{"role": "REVIEWER", "approved": true, "state": "approved", "user": {"account_id": "557058:carol"}},
		{"role": "REVIEWER", "approved": false, "state": "changes_requested", "user": {"account_id": "557058:dave"}},
		{"role": "REVIEWER", "approved": false, "state": null, "user": {"account_id": "557058:erin"}},
		{"role": "PARTICIPANT", "approved": true, "state": "approved", "user": {"account_id": "557058:frank"}}]`)
	f := newFake(t, answers)
	list, err := f.client(t, forge.Bitbucket, "acme/db").Reviews(t.Context(), 7)
	require.NoError(t, err)
	link := "https://bitbucket.org/acme/db/pull-requests/7"
	require.Equal(t, []forge.Review{
		{Author: "557058:frank", State: forge.Approved, Link: link}, // of whom the activity knows nothing
		{Author: "557058:carol", State: forge.Approved, Commit: first, Link: link, At: at("2026-11-20T08:00:00Z")},
		{Author: "557058:dave", State: forge.ChangesRequested, Commit: first, Link: link, At: at("2026-11-20T08:10:00Z")},
		{Author: "557058:bob", State: forge.Approved, Commit: second, Link: link, At: at("2026-11-20T09:00:00Z")},
	}, list)
}

func TestBitbucketProposesAndTheRest(t *testing.T) {
	answers := bitbucketAnswers()
	opened := bitbucketPull("8", "OPEN", "")
	answers["POST "+bitbucketRepo+"/pullrequests"] = opened
	answers["PUT "+bitbucketRepo+"/pullrequests/8"] = opened
	answers["POST "+bitbucketRepo+"/pullrequests/8/decline"] = opened
	answers["GET "+bitbucketRepo+`/pullrequests?pagelen=50&q=(state = "OPEN" OR state = "MERGED" OR state = "DECLINED" OR state = "SUPERSEDED")`+
		` AND source.branch.name = "rotate" AND destination.branch.name = "main" AND source.repository.full_name = "acme/db"&sort=-updated_on`] = `{"values": [` + opened + `]}`
	answers["GET "+bitbucketRepo+"/pullrequests/8/diffstat?pagelen=100"] = `{"values": [
		{"status": "renamed", "old": {"path": "old.yaml"}, "new": {"path": "new.yaml"}}, {"status": "removed", "old": {"path": "gone.yaml"}, "new": null}]}`
	answers["GET "+bitbucketRepo+"/src/"+second+"/rotations/app.yaml?format=meta"] = `{"type": "commit_file", "path": "rotations/app.yaml", "size": 6}`
	answers["GET "+bitbucketRepo+"/src/"+second+"/rotations/app.yaml"] = "hello\n"
	answers["GET "+bitbucketRepo+"/src/"+second+"/rotations?format=meta"] = `{"type": "commit_directory", "path": "rotations"}`
	answers["GET /2.0/user"] = `{"type": "user", "account_id": "557058:bot", "username": "gitrota", "nickname": "bot"}`
	f := newFake(t, answers)
	c := f.client(t, forge.Bitbucket, "acme/db")

	pull, err := c.Propose(t.Context(), forge.Proposal{Branch: "rotate", Base: "main", Title: "Rotate", Body: "due"})
	require.NoError(t, err)
	require.Equal(t, second, pull.Head)
	require.False(t, pull.Closed)
	require.Equal(t, "POST "+bitbucketRepo+`/pullrequests {"description":"due","destination":{"branch":{"name":"main"}},"source":{"branch":{"name":"rotate"}},"title":"Rotate"}`, f.requests()[0])
	list, err := c.ByBranch(t.Context(), "rotate", "main")
	require.NoError(t, err)
	require.Equal(t, []forge.PullRequest{pull}, list)
	paths, err := c.Changes(t.Context(), 8)
	require.NoError(t, err)
	require.Equal(t, []string{"gone.yaml", "new.yaml", "old.yaml"}, paths)
	for path, expected := range map[string]string{"rotations/app.yaml": blob, "rotations": "", "nowhere.yaml": ""} {
		hash, err := c.Blob(t.Context(), second, path)
		require.NoError(t, err)
		require.Equal(t, expected, hash, path)
	}
	me, err := c.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "557058:bot", me)
	f.requests()

	require.NoError(t, c.Edit(t.Context(), 8, "Rotate now", "overdue"))
	require.NoError(t, c.Close(t.Context(), 8))
	require.Equal(t, []string{
		"PUT " + bitbucketRepo + `/pullrequests/8 {"description":"overdue","title":"Rotate now"}`,
		"POST " + bitbucketRepo + "/pullrequests/8/decline",
	}, f.requests())
}

func TestAListThatGoesOnElsewhereDoesNotTakeTheTokenThere(t *testing.T) {
	elsewhere := newFake(t, nil)
	answers := bitbucketAnswers()
	answers["GET "+bitbucketRepo+"/pullrequests/7"] = bitbucketPull("7", "OPEN", "")
	answers["GET "+bitbucketRepo+"/pullrequests/7/activity?pagelen=50"] = `{"values": [], "next": "` + strings.Replace(elsewhere.server.URL, "127.0.0.1", "localhost", 1) + `/"}`
	f := newFake(t, answers)
	_, err := f.client(t, forge.Bitbucket, "acme/db").Reviews(t.Context(), 7)
	require.ErrorIs(t, err, forge.ErrUnavailable)
	require.ErrorContains(t, err, "refusing to send the credentials for "+f.server.URL+" to http://localhost:")
	require.Empty(t, elsewhere.requests())
}

// endless answers every request with the same item, and says that there is a next page.
type endless struct{ item string }

func (e endless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Link", `<http://`+r.Host+r.URL.Path+`?page=99>; rel="next"`)
	_, _ = w.Write([]byte("[" + e.item + "]"))
}
