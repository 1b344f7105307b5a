package forge_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/forge"
	"github.com/gitrota/gitrota/gitsource/forge/forgetest"
	"github.com/gitrota/gitrota/policies/credential"
)

// people are the accounts of these tests, on a real Gitea.
type people struct{ acme, alice, bob, bot *forgetest.User }

func newRepo(t *testing.T, options forgetest.RepoOptions) (*forgetest.Repo, people) {
	t.Helper()
	f := forgetest.Start(t)
	p := people{acme: f.User(t, "acme"), alice: f.User(t, "alice"), bob: f.User(t, "bob"), bot: f.User(t, "gitrota-bot")}
	options.Writers = []*forgetest.User{p.alice, p.bob, p.bot}
	return f.NewRepo(t, p.acme, options), p
}

// as is a client with a user's token.
func as(t *testing.T, user *forgetest.User, repo *forgetest.Repo) *forge.Client {
	t.Helper()
	return open(t, forge.Options{Kind: forge.Gitea, URL: repo.URL, Auth: gitsource.Auth{BearerToken: credential.NewPassword(user.Token)}})
}

// propose pushes a request on a branch and opens a pull request; it returns the head and the number.
func propose(t *testing.T, repo *forgetest.Repo, user *forgetest.User, branch string) (string, int) {
	t.Helper()
	head := repo.Push(t, user, branch, map[string]string{"rotations/" + branch + ".yaml": "hello\n"}, "rotate "+branch)
	return head, repo.Propose(t, user, branch, "Rotate "+branch)
}

func TestGiteaLeadsFromTheMergeToThePullRequest(t *testing.T) {
	repo, p := newRepo(t, forgetest.RepoOptions{})
	c := as(t, p.bot, repo)
	start := time.Now().Add(-time.Minute)
	for _, style := range []forgetest.Style{forgetest.Merge, forgetest.Squash, forgetest.Rebase} {
		head, number := propose(t, repo, p.alice, string(style))
		// The base moves on, so that no way to merge is a fast-forward.
		repo.Push(t, p.acme, "main", map[string]string{string(style): "else"}, "something else")
		onBase := repo.Merge(t, p.bob, number, style)

		list, err := c.Merged(t.Context(), "main", start)
		require.NoError(t, err)
		require.Equal(t, number, list[0].Number, style)
		require.Equal(t, onBase, list[0].MergedAs, style)
		require.Equal(t, head, list[0].Head, style)
		found, err := c.Find(t.Context(), number)
		require.NoError(t, err)
		require.Equal(t, onBase, found.MergedAs, style)
		require.Equal(t, head, found.Head, style)
		require.Equal(t, []string{"alice", "bob"}, []string{found.Author, found.MergedBy}, style)
		require.Equal(t, []string{string(style), "main"}, []string{found.HeadBranch, found.Base}, style)
		require.True(t, found.Merged && found.Closed, style)
		require.WithinDuration(t, time.Now(), found.MergedAt, time.Minute, style)
		require.Equal(t, repo.URL[:len(repo.URL)-len(".git")]+"/pulls/", found.Link[:len(found.Link)-1], style)

		before, err := c.Blob(t.Context(), head, "rotations/"+string(style)+".yaml")
		require.NoError(t, err)
		require.Equal(t, blob, before, style)
		after, err := c.Blob(t.Context(), onBase, "rotations/"+string(style)+".yaml")
		require.NoError(t, err)
		require.Equal(t, before, after, "what was reviewed is what was merged")
	}
	list, err := c.Merged(t.Context(), "main", start)
	require.NoError(t, err)
	require.Len(t, list, 3)
	list, err = c.Merged(t.Context(), "main", time.Now().Add(time.Minute))
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestGiteaTellsTheHeadThatWasMergedAndNotWhereItsBranchIsNow(t *testing.T) {
	repo, p := newRepo(t, forgetest.RepoOptions{})
	reviewed, number := propose(t, repo, p.alice, "rotate")
	repo.Review(t, p.bob, number, forgetest.Approve)
	merged := repo.Push(t, p.alice, "rotate", map[string]string{"rotations/rotate.yaml": "evil\n"}, "more")
	repo.Merge(t, p.alice, number, forgetest.Squash)
	repo.Reset(t, p.alice, "rotate", reviewed)

	found, err := as(t, p.bot, repo).Find(t.Context(), number)
	require.NoError(t, err)
	require.Equal(t, merged, found.Head)
	reviews, err := as(t, p.bot, repo).Reviews(t.Context(), number)
	require.NoError(t, err)
	require.Equal(t, reviewed, reviews[0].Commit)
}

func TestGiteaReviews(t *testing.T) {
	repo, p := newRepo(t, forgetest.RepoOptions{})
	c := as(t, p.bot, repo)
	older, number := propose(t, repo, p.alice, "rotate")
	repo.Review(t, p.bob, number, forgetest.RequestChanges)
	list, err := c.Reviews(t.Context(), number)
	require.NoError(t, err)
	require.Equal(t, forge.ChangesRequested, list[0].State)
	dismissed := repo.Review(t, p.acme, number, forgetest.Approve)
	newer := repo.Push(t, p.alice, "rotate", map[string]string{"rotations/rotate.yaml": "better\n"}, "as asked")
	repo.Review(t, p.bob, number, forgetest.Approve)
	repo.Review(t, p.bot, number, forgetest.Approve)
	repo.Review(t, p.alice, number, forgetest.Comment)
	repo.Dismiss(t, p.acme, number, dismissed)

	list, err = c.Reviews(t.Context(), number)
	require.NoError(t, err)
	for i := range list {
		require.WithinDuration(t, time.Now(), list[i].At, time.Minute)
		require.Contains(t, list[i].Link, "/pulls/1#")
		list[i].At, list[i].Link = time.Time{}, ""
	}
	require.ElementsMatch(t, []forge.Review{
		{Author: "bob", State: forge.Dismissed, Commit: older}, // Gitea lets a verdict void the one before it
		{Author: "acme", State: forge.Dismissed, Commit: older},
		{Author: "bob", State: forge.Approved, Commit: newer},
		{Author: "gitrota-bot", State: forge.Approved, Commit: newer},
		{Author: "alice", State: forge.Commented, Commit: newer},
	}, list)

	_, err = repo.TryReview(p.alice, number, forgetest.Approve)
	require.EqualError(t, err, "HTTP 422 Unprocessable Entity: approve your own pull is not allowed")
}

func TestGiteaTakesNoReviewAfterTheMerge(t *testing.T) {
	repo, p := newRepo(t, forgetest.RepoOptions{})
	_, number := propose(t, repo, p.alice, "rotate")
	repo.Merge(t, p.alice, number, forgetest.Merge)
	_, err := repo.TryReview(p.bob, number, forgetest.Approve)
	require.EqualError(t, err, "HTTP 422 Unprocessable Entity: can't submit review for a closed or merged PR")
	list, err := as(t, p.bot, repo).Reviews(t.Context(), number)
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestTheBotProposesEditsAndGivesUpOnGitea(t *testing.T) {
	repo, p := newRepo(t, forgetest.RepoOptions{Protected: true, RequiredApprovals: 1})
	c := as(t, p.bot, repo)
	list, err := c.ByBranch(t.Context(), "gitrota/due", "main")
	require.NoError(t, err)
	require.Empty(t, list)

	_, err = repo.TryPush(p.bot, "main", map[string]string{"rotations/due.yaml": "hello\n"}, "rotate")
	require.ErrorContains(t, err, "protected branch main")
	head := repo.Push(t, p.bot, "gitrota/due", map[string]string{"rotations/due.yaml": "hello\n"}, "rotate")
	opened, err := c.Propose(t.Context(), forge.Proposal{Branch: "gitrota/due", Base: "main", Title: "Rotate prod", Body: "It is 30 days old."})
	require.NoError(t, err)
	require.Equal(t, forge.PullRequest{
		Number: 1, Link: repo.URL[:len(repo.URL)-len(".git")] + "/pulls/1", Title: "Rotate prod", Body: "It is 30 days old.",
		Author: "gitrota-bot", Head: head, HeadBranch: "gitrota/due", Base: "main", Updated: opened.Updated,
	}, opened)
	_, err = c.Propose(t.Context(), forge.Proposal{Branch: "gitrota/due", Base: "main", Title: "Again"})
	require.ErrorIs(t, err, forge.ErrRefused)
	require.ErrorContains(t, err, "pull request already exists for these targets")

	require.NoError(t, c.Edit(t.Context(), 1, "Rotate prod", "It is 31 days old."))
	paths, err := c.Changes(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []string{"rotations/due.yaml"}, paths)
	list, err = c.ByBranch(t.Context(), "gitrota/due", "main")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "It is 31 days old.", list[0].Body)
	require.False(t, list[0].Closed)

	_, err = repo.TryMerge(t, p.alice, 1, forgetest.Merge)
	require.ErrorContains(t, err, "HTTP 405 Method Not Allowed", "an approval is missing")

	require.NoError(t, c.Close(t.Context(), 1))
	second, err := c.Propose(t.Context(), forge.Proposal{Branch: "gitrota/due", Base: "main", Title: "Rotate prod again"})
	require.NoError(t, err)
	list, err = c.ByBranch(t.Context(), "gitrota/due", "main")
	require.NoError(t, err)
	require.Equal(t, []int{second.Number, 1}, []int{list[0].Number, list[1].Number})
	require.Equal(t, []bool{false, true}, []bool{list[0].Closed, list[1].Closed})
	require.False(t, list[1].Merged)
}

func TestGiteaBlobsMeAndRefusals(t *testing.T) {
	repo, p := newRepo(t, forgetest.RepoOptions{})
	c := as(t, p.bot, repo)
	head := repo.Push(t, p.alice, "rotate", map[string]string{"rotations/my app.yaml": "hello\n"}, "rotate")
	for path, expected := range map[string]string{"rotations/my app.yaml": blob, "rotations": "", "nowhere.yaml": ""} {
		hash, err := c.Blob(t.Context(), head, path)
		require.NoError(t, err)
		require.Equal(t, expected, hash, path)
	}
	hash, err := c.Blob(t.Context(), first, "rotations/my app.yaml")
	require.NoError(t, err)
	require.Empty(t, hash, "there is no such commit")

	me, err := c.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "gitrota-bot", me)

	_, err = c.Find(t.Context(), 99)
	require.ErrorIs(t, err, forge.ErrNotFound)
	wrong := open(t, forge.Options{Kind: forge.Gitea, URL: repo.URL, Auth: gitsource.Auth{BearerToken: credential.NewPassword(canary)}})
	_, err = wrong.Me(t.Context())
	require.ErrorIs(t, err, forge.ErrAuth)
	require.NotContains(t, err.Error(), canary)
	password := open(t, forge.Options{Kind: forge.Gitea, URL: repo.URL, Auth: gitsource.Auth{Username: "alice", Password: credential.NewPassword(p.alice.Password)}})
	me, err = password.Me(t.Context())
	require.NoError(t, err)
	require.Equal(t, "alice", me)
}
