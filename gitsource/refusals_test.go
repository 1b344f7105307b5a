package gitsource

import (
	"testing"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/stretchr/testify/require"
)

// What servers write into the report of a push, collected from their sources and from what users have pasted.
func TestWhatServersSayOfAPush(t *testing.T) {
	const race, protect, readOnly, hook, signed, whose, room = "race", "is protected", "may only read", "a hook on the server",
		"--signing-key", "--author-email", "no room"
	for _, c := range []struct{ server, status, said, want string }{
		{"git", "failed to update ref", "error: cannot lock ref 'refs/heads/main': is at 1111 but expected 2222", race},
		{"git with reftables", "incorrect old value provided", "", race},
		{"git, for a new branch", "reference already exists", "", race},
		{"git with denyNonFastForwards", "non-fast-forward", "", race},
		{"GitHub", "cannot lock ref 'refs/heads/main': is at 1111 but expected 2222", "", race},
		{"GitLab", "reference is already locked", "", race},
		{"GitLab, older", "failed to update ref", "error: update_ref failed for ref 'refs/heads/main': cannot lock ref", race},
		{"Azure DevOps", "TF401028: The reference 'refs/heads/main' has already been updated by another client, so you cannot update it. Please try again.", "", race},
		{"Gerrit", "lock failure", "", race},

		{"GitHub", "protected branch hook declined", "error: GH006: Protected branch update failed for refs/heads/main.", protect},
		{"GitHub", "push declined due to repository rule violations", "error: GH013: Repository rule violations found for refs/heads/main. - Changes must be made through a pull request.", protect},
		{"GitLab", "pre-receive hook declined", "GitLab: You are not allowed to push code to protected branches on this project.", protect},
		{"Gitea", "pre-receive hook declined", "Gitea: Not allowed to push to protected branch main", protect},
		{"Azure DevOps", "TF402455: Pushes to this branch are not permitted; you must use a pull request to update this branch.", "", protect},
		{"Bitbucket Data Center", "pre-receive hook declined", "Branch refs/heads/main can only be modified through pull requests.", protect},
		{"Bitbucket Cloud", "pre-receive hook declined", "Permission denied to update branch main.", protect},
		{"GitHub", "protected branch hook declined", "error: GH006: Protected branch update failed for refs/heads/main. error: Commits must have verified signatures.", signed},
		{"GitLab", "pre-receive hook declined", "GitLab: Commit must be signed with a GPG key", signed},
		{"GitLab", "pre-receive hook declined", "GitLab: You cannot push commits for 'gitrota@localhost'. You can only push commits if the committer email is one of your own verified emails.", whose},
		{"Gitea", "pre-receive hook declined", "Deploy Key: 1:status is not authorized to write to dba/rotations.", readOnly},
		{"Azure DevOps", "TF401027: You need the Git 'GenericContribute' permission to perform this action.", "", readOnly},
		{"GitLab", "pre-receive hook declined", "GitLab: Your push to this repository has been rejected because it would exceed storage limits.", room},
		{"a hook that talks of races", "pre-receive hook declined", "failed to update ref: fetch first", hook},
		{"an update hook", "hook declined", "", hook},
		{"nobody knows", "computer says no", "", "let gitrota's account push to this branch"},
	} {
		t.Run(c.server+" says "+c.status+" "+c.said, func(t *testing.T) {
			err := verdict(&packp.ReportStatus{UnpackStatus: "ok", CommandStatuses: []*packp.CommandStatus{{Status: c.status}}}, c.said)
			if c.want == race {
				require.ErrorIs(t, err, errMoved)
				return
			}
			require.ErrorIs(t, err, ErrRejected)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, c.status)
			require.Equal(t, c.server != "nobody knows", final(err))
		})
	}

	t.Run("a disk that is full is no race", func(t *testing.T) {
		err := verdict(&packp.ReportStatus{UnpackStatus: "unable to write file: No space left on device"}, "")
		require.ErrorIs(t, err, ErrRejected)
		require.ErrorContains(t, err, room)
		require.True(t, final(err))
	})

	for words, kind := range map[string]error{
		"ERROR: The key you are authenticating with has been marked as read only.": ErrAuth,
		"GitLab: This deploy key does not have write access to this project.":      ErrAuth,
		"ERROR: Permission to dba/rotations.git denied to deploy key":              ErrAuth,
		"remote: Write access to repository not granted.":                          ErrAuth,
	} {
		t.Run("instead of Git, a server says "+words, func(t *testing.T) {
			err := refusal(words)
			require.ErrorIs(t, err, kind)
			require.ErrorContains(t, err, readOnly)
			require.True(t, final(err))
		})
	}
	t.Run("an archived repository is named as one", func(t *testing.T) {
		require.ErrorContains(t, refusal("ERROR: This repository was archived so it is read-only."), "the repository is archived")
	})
}
