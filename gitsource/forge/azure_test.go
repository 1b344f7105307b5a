package forge_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/forge"
)

// The answers have the shapes of learn.microsoft.com/en-us/rest/api/azure/devops/git, and the threads of votes those of
// its example for listing the threads of a pull request, in its newer form with identities.

const azureRepo = "/acme/Secret%20Ops/_apis/git/repositories/db"

func azurePull(status, more string) string {
	return `{"pullRequestId": 7, "status": "` + status + `", "title": "Rotate prod", "description": "please",
		"createdBy": {"id": "a", "displayName": "Alice", "uniqueName": "alice@example.com"}, "creationDate": "2026-11-20T06:00:00Z",
		"sourceRefName": "refs/heads/rotate", "targetRefName": "refs/heads/main", "mergeStatus": "succeeded",
		"lastMergeSourceCommit": {"commitId": "` + second + `"}, "lastMergeTargetCommit": {"commitId": "` + first + `"},
		"lastMergeCommit": {"commitId": "` + merge + `"}, "repository": {"id": "r", "name": "db", "webUrl": "https://dev.azure.com/acme/Secret%20Ops/_git/db"}` + more + `}`
}

const azureClosed = `, "closedBy": {"id": "b", "uniqueName": "bob@example.com"}, "closedDate": "2026-11-20T10:00:00Z"`

func azureClient(t *testing.T, f *fake) *forge.Client {
	return f.client(t, forge.Azure, "acme/Secret%20Ops/_git/db")
}

func TestAzureListsWhatWasMerged(t *testing.T) {
	f := newFake(t, map[string]string{
		"GET " + azureRepo + "/pullrequests?$skip=0&$top=100&api-version=7.1&searchCriteria.minTime=2026-11-20T00:00:00Z&searchCriteria.queryTimeRangeType=closed" +
			"&searchCriteria.status=completed&searchCriteria.targetRefName=refs/heads/main": `{"value": [` + azurePull("completed", azureClosed) + `], "count": 1}`,
	})
	list, err := azureClient(t, f).Merged(t.Context(), "main", at("2026-11-20T00:00:00Z"))
	require.NoError(t, err)
	require.Equal(t, []forge.PullRequest{{
		Number: 7, Link: "https://dev.azure.com/acme/Secret%20Ops/_git/db/pullrequest/7", Title: "Rotate prod", Body: "please", Author: "alice@example.com",
		Head: second, HeadBranch: "rotate", Base: "main", Closed: true, Merged: true,
		MergedAs: merge, MergedBy: "bob@example.com", MergedAt: at("2026-11-20T10:00:00Z"), Updated: at("2026-11-20T10:00:00Z"),
	}}, list)
	require.Equal(t, "Bearer "+canary, f.auth)
}

// azureVote is the thread that the server writes for a vote, or somebody who wants it to look like that.
func azureVote(author, kind, voter, vote, published string) string {
	return `{"id": 1, "publishedDate": "` + published + `", "comments": [{"id": 1, "author": ` + author + `, "content": "voted", "commentType": "` + kind + `"}],
		"properties": {"CodeReviewThreadType": {"$type": "System.String", "$value": "VoteUpdate"},
			"CodeReviewVoteResult": {"$type": "System.String", "$value": "` + vote + `"},
			"CodeReviewVotedByIdentity": {"$type": "System.String", "$value": "1"}},
		"identities": {"1": {"id": "` + voter + `"}}}`
}

func TestAzureVotesAreOfTheHeadThatWasThere(t *testing.T) {
	const server = `{"id": "s", "displayName": "Project Collection Service Accounts", "isContainer": true}`
	f := newFake(t, map[string]string{
		"GET " + azureRepo + "/pullRequests/7/reviewers?api-version=7.1": `{"value": [
			{"id": "b", "uniqueName": "bob@example.com", "vote": 10},
			{"id": "c", "uniqueName": "carol@example.com", "vote": 5},
			{"id": "d", "uniqueName": "dave@example.com", "vote": -10},
			{"id": "e", "uniqueName": "erin@example.com", "vote": 0},
			{"id": "f", "uniqueName": "frank@example.com", "vote": 10},
			{"id": "g", "displayName": "DBAs", "uniqueName": "vstfs:///group", "isContainer": true, "vote": 10}]}`,
		"GET " + azureRepo + "/pullRequests/7/threads?api-version=7.1": `{"value": [` +
			azureVote(server, "system", "b", "10", "2026-11-20T09:00:00Z") + "," +
			azureVote(`{"id": "c", "uniqueName": "carol@example.com"}`, "system", "c", "5", "2026-11-20T08:00:00Z") + "," +
			azureVote(server, "system", "d", "-10", "2026-11-20T08:10:00Z") + "," +
			azureVote(server, "system", "e", "10", "2026-11-20T08:10:00Z") + "," +
			azureVote(`{"id": "m", "uniqueName": "mallory@example.com"}`, "system", "f", "10", "2026-11-20T09:30:00Z") + "," +
			azureVote(`{"id": "f", "uniqueName": "frank@example.com"}`, "text", "f", "10", "2026-11-20T09:30:00Z") + "," +
			`{"id": 9, "publishedDate": "2026-11-20T08:20:00Z", "comments": [{"commentType": "text"}], "properties": {"Microsoft.TeamFoundation.Discussion.SupportsMarkdown": {"$type": "System.Int32", "$value": 1}}}]}`,
		"GET " + azureRepo + "/pullRequests/7/iterations?api-version=7.1": `{"value": [
			{"id": 1, "createdDate": "2026-11-20T07:00:00Z", "sourceRefCommit": {"commitId": "` + first + `"}},
			{"id": 2, "createdDate": "2026-11-20T08:30:00Z", "sourceRefCommit": {"commitId": "` + second + `"}}]}`,
	})
	list, err := azureClient(t, f).Reviews(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, []forge.Review{
		{Author: "frank@example.com", State: forge.Approved}, // of whose vote only others tell
		{Author: "carol@example.com", State: forge.Approved, Commit: first, At: at("2026-11-20T08:00:00Z")},
		{Author: "dave@example.com", State: forge.ChangesRequested, Commit: first, At: at("2026-11-20T08:10:00Z")},
		{Author: "bob@example.com", State: forge.Approved, Commit: second, At: at("2026-11-20T09:00:00Z")},
	}, list)
}

func TestAzureProposesAndTheRest(t *testing.T) {
	f := newFake(t, map[string]string{
		"POST " + azureRepo + "/pullrequests?api-version=6.0": azurePull("active", ""),
		"GET " + azureRepo + "/pullrequests?$skip=0&$top=100&api-version=7.1&searchCriteria.sourceRefName=refs/heads/rotate&searchCriteria.status=all" +
			"&searchCriteria.targetRefName=refs/heads/main": `{"value": [` + azurePull("active", "") + "," + azurePull("active", `, "forkSource": {}`) + `]}`,
		"GET " + azureRepo + "/pullRequests/7?api-version=7.1":            azurePull("abandoned", azureClosed),
		"GET " + azureRepo + "/pullrequests/7?api-version=6.0":            azurePull("active", ""),
		"PATCH " + azureRepo + "/pullrequests/7?api-version=6.0":          azurePull("active", ""),
		"GET " + azureRepo + "/pullRequests/7/iterations?api-version=7.1": `{"value": [{"id": 1}, {"id": 2}]}`,
		"GET " + azureRepo + "/pullRequests/7/iterations/2/changes?$compareTo=0&$skip=0&$top=100&api-version=7.1": `{"changeEntries": [
			{"changeType": "rename", "item": {"path": "/new.yaml", "objectId": "` + blob + `"}, "originalPath": "/old.yaml"}], "nextSkip": 0}`,
		"GET " + azureRepo + "/items?$format=json&api-version=7.1&path=/rotations/app.yaml&versionDescriptor.version=" + second + "&versionDescriptor.versionType=commit": `{"objectId": "` + blob + `", "gitObjectType": "blob", "path": "/rotations/app.yaml"}`,
		"GET " + azureRepo + "/items?$format=json&api-version=7.1&path=/rotations&versionDescriptor.version=" + second + "&versionDescriptor.versionType=commit":          `{"objectId": "` + first + `", "gitObjectType": "tree"}`,
		"GET /acme/_apis/connectionData": `{"authenticatedUser": {"id": "z", "properties": {"Account": {"$type": "System.String", "$value": "gitrota@example.com"}}}}`,
	})
	c := azureClient(t, f)
	opened, err := c.Propose(t.Context(), forge.Proposal{Branch: "rotate", Base: "main", Title: "Rotate", Body: "due"})
	require.NoError(t, err)
	require.Equal(t, 7, opened.Number)
	require.Equal(t, second, opened.Head)
	list, err := c.ByBranch(t.Context(), "rotate", "main")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Empty(t, list[0].MergedAs, "an attempt to merge is no merge")
	given, err := c.Find(t.Context(), 7)
	require.NoError(t, err)
	require.True(t, given.Closed)
	require.False(t, given.Merged)
	paths, err := c.Changes(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, []string{"new.yaml", "old.yaml"}, paths)
	for path, expected := range map[string]string{"rotations/app.yaml": blob, "rotations": "", "nowhere.yaml": ""} {
		hash, err := c.Blob(t.Context(), second, path)
		require.NoError(t, err)
		require.Equal(t, expected, hash, path)
	}
	me, err := c.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "gitrota@example.com", me)
	f.requests()

	require.NoError(t, c.Edit(t.Context(), 7, "Rotate now", "overdue"))
	require.NoError(t, c.Close(t.Context(), 7))
	require.Equal(t, []string{
		"GET " + azureRepo + "/pullrequests/7?api-version=6.0",
		"PATCH " + azureRepo + `/pullrequests/7?api-version=6.0 {"title":"Rotate now","description":"overdue","targetRefName":null}`,
		"PATCH " + azureRepo + `/pullrequests/7?api-version=6.0 {"status":"abandoned"}`,
	}, f.requests())
}
