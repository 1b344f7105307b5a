package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/gittest"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/gitsource/signature"
)

// audited is a clone with two rotations of shop/orders and one of shop/stock that failed, which the agent's own code
// has written and signed.
type audited struct {
	*testing.T
	repo    *gittest.Repo
	key     *gittest.SigningKey
	signers string // file
	at      time.Time
}

func newAudited(t *testing.T) *audited {
	t.Helper()
	server := gittest.NewServer(t, gittest.Options{})
	a := &audited{T: t, repo: server.NewRepo("rotations"), key: server.NewSSHKey("ed25519", ""), at: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	a.signers = filepath.Join(t.TempDir(), "gitrota.allowed_signers")
	writeFile(t, a.signers, "gitrota@localhost "+a.key.Public+"\n")
	a.rotate("shop", "orders-2026-10", "orders", "Successful", "")
	a.rotate("shop", "stock-2026-11", "stock", "Failed", "rotations/shop/stock-2026-11.yaml:1: the step \"connect\" did not end within its timeout of 5m0s: stock-0 does not answer; see that its pod runs")
	a.rotate("shop", "orders-2026-11", "orders", "Successful", "")
	return a
}

// rotate commits a request as Dana, and its status as the agent.
func (a *audited) rotate(namespace, name, database, phase, why string) {
	a.Helper()
	file := "rotations/" + namespace + "/" + name + ".yaml"
	text := fmt.Sprintf("apiVersion: ops.kubedb.com/v1alpha1\nkind: MSSQLServerOpsRequest\nmetadata:\n  name: %s\n  namespace: %s\nspec:\n  type: RotateAuth\n  databaseRef:\n    name: %s\n", name, namespace, database)
	source := a.repo.At(a.at).Commit(map[string]string{file: text}, "rotate "+database)
	id := manifest.Join(manifest.ParseFile(file, []byte(text))).Requests[0].ID
	began, ended := a.at.Add(2*time.Second), a.at.Add(14*time.Second)
	a.at = a.at.Add(time.Hour)
	step := func(kind, reason, message string, at time.Time) string {
		return fmt.Sprintf("  - lastTransitionTime: %q\n    message: %q\n    observedGeneration: 1\n    reason: %s\n    status: \"True\"\n    type: %s\n", at.Format(time.RFC3339), message, reason, kind)
	}
	conditions := step("RotateAuth", "RotateAuth", "MSSQLServer ops-request has started", began)
	if phase == "Successful" {
		conditions += step("CredentialVerified", "CredentialVerified", "a fresh login with the new credential opened 1 of 1 replicas", ended) + step("Successful", "Successful", "done", ended)
	} else {
		conditions += step(phase, "Timeout", why, ended)
	}
	content := "# Written by gitrota: the request and how it went. Do not edit or apply it.\n" + strings.Replace(text, "metadata:\n", fmt.Sprintf(
		"metadata:\n  annotations:\n    gitrota.dev/rotation-id: %q\n    gitrota.dev/source-author: Dana DBA <dana@example.com>\n    gitrota.dev/source-commit: %q\n    gitrota.dev/source-path: %s:1\n", id, source, file), 1) +
		"status:\n  conditions:\n" + conditions + "  observedGeneration: 1\n  phase: " + phase + "\n"
	key, err := signature.LoadKey(a.key.Dir)
	require.NoError(a, err)
	agent, err := gitsource.Open(gitsource.Options{
		URL: a.repo.URL(), Branch: "main", Signing: key, Author: gitsource.Person{Name: "gitrota", Email: "gitrota@localhost"},
		Now: func() time.Time { return ended },
	})
	require.NoError(a, err)
	_, err = agent.Write(a.Context(), []string{"rotation-status"}, func(*gitsource.Snapshot) (*gitsource.Change, error) {
		return &gitsource.Change{
			Files:   map[string][]byte{"rotation-status/" + namespace + "/" + name + ".yaml": []byte(content)},
			Subject: "rotate " + namespace + "/" + database + ": " + phase,
			Trailers: []gitsource.Trailer{{Key: "Rotation-Request", Value: namespace + "/" + name}, {Key: "Rotation-Id", Value: id},
				{Key: "Rotation-Phase", Value: phase}, {Key: "Rotation-Source", Value: source}, {Key: "Approved-By", Value: "Rita Reviewer <rita@example.com>"}},
		}, nil
	})
	require.NoError(a, err)
}

func TestAuditVerifyProvesAClone(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	dir := a.repo.Clone()
	tip := a.repo.Head()
	got := gitrota(t, dir, nil, "audit", "verify", "--agent-signers", a.signers)
	require.Equal(t, result{0, fmt.Sprintf(`DATABASE     ROTATIONS  LAST                  BY                           STATUS COMMIT  SIGNED BY
shop/orders  2          2026-11-24 14:00:14Z  Dana DBA <dana@example.com>  %s   gitrota@localhost
shop/stock   0          none proven           -                            -              -

proven: 3 status commits in 6 commits, signed with %s
tip: %s
`, tip[:12], a.key.Name, tip), ""}, got)

	t.Run("in a bare clone, from elsewhere, as JSON", func(t *testing.T) {
		got := gitrota(t, t.TempDir(), []string{"GITROTA_AGENT_SIGNERS=" + a.signers}, "audit", "verify", "--repo-dir", a.repo.Clone("--bare"), "-o", "json", "--contains", tip)
		require.Equal(t, 0, got.code, got.stdout+got.stderr)
		var said struct {
			Proven bool
			Report struct {
				Tip       string
				Databases []struct{ Name, Last any }
			}
		}
		require.NoError(t, json.Unmarshal([]byte(got.stdout), &said))
		require.True(t, said.Proven)
		require.Equal(t, tip, said.Report.Tip)
		require.Len(t, said.Report.Databases, 2)
	})
	t.Run("but not one that lacks a part of the history", func(t *testing.T) {
		got := gitrota(t, a.repo.Clone("--depth", "1"), nil, "audit", "verify", "--agent-signers", a.signers)
		require.Equal(t, 1, got.code)
		require.Contains(t, got.stderr, "is shallow, and what it lacks proves nothing: run git fetch --unshallow")
	})
	t.Run("and says where it does not hold", func(t *testing.T) {
		repo := a.repo.Fork("deleted")
		repo.Pull()
		deleted := repo.At(a.at).Delete("Clean up", "rotation-status/shop/stock-2026-11.yaml")
		got := gitrota(t, repo.Clone(), nil, "audit", "verify", "--agent-signers", a.signers)
		require.Equal(t, result{1, fmt.Sprintf(`broken  StatusDeleted
commit  %s
author  Dana DBA <dana@example.com>
file    rotation-status/shop/stock-2026-11.yaml
why     the status is gone; the commit is not signed
`, deleted), ""}, got)
		got = gitrota(t, repo.Clone(), nil, "audit", "verify", "--agent-signers", a.signers, "-o", "json")
		require.Equal(t, 1, got.code)
		require.Contains(t, got.stdout, `"reason": "StatusDeleted"`)
	})
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"without the agent's keys":      {nil, 2, "--agent-signers is missing: the file with the agent's public keys\nRun 'gitrota audit verify --help' for usage."},
		"with keys that are nowhere":    {[]string{"--agent-signers", "nowhere"}, 2, "--agent-signers: reading the allowed signers: "},
		"with a branch that is nowhere": {[]string{"--agent-signers", a.signers, "--branch", "nowhere"}, 1, "has no branch nowhere: fetch it, or name another"},
		"with a folder outside":         {[]string{"--agent-signers", a.signers, "--status-path", "../x"}, 2, "is not a folder inside the repository"},
		"with another folder":           {[]string{"--agent-signers", a.signers, "--status-path", "statuses"}, 1, "no commit has ever changed statuses, so there is nothing to prove"},
		"with a start that is nowhere":  {[]string{"--agent-signers", a.signers, "--since", "v1"}, 1, "--since: the clone at . has no commit v1"},
		"with an argument":              {[]string{"orders"}, 2, "Run 'gitrota audit verify --help' for usage."},
		"with another format":           {[]string{"-o", "yaml"}, 2, `--output "yaml": use text or json`},
		"in no repository":              {[]string{"--agent-signers", a.signers, "--repo-dir", t.TempDir()}, 1, "is in no Git repository: run this in a clone, or say with --repo-dir where there is one"},
	} {
		t.Run(name, func(t *testing.T) {
			got := gitrota(t, dir, nil, append([]string{"audit", "verify"}, tc.args...)...)
			require.Equal(t, tc.code, got.code, got.stderr)
			require.Contains(t, got.stderr, tc.says)
		})
	}
}

func TestHistoryTellsTheStoryOfADatabase(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	log := a.repo.Log() // the newest first
	dir := a.repo.Clone()
	for i := range log {
		log[i].Hash = log[i].Hash[:12]
	}
	require.Equal(t, result{0, fmt.Sprintf(`shop/orders: 2 requests, 2 rotations, the last on 2026-11-24 14:00:14Z

shop/orders-2026-10: Successful
  asked     2026-11-24 12:00:00Z Dana DBA <dana@example.com>
            %s rotate orders
            rotations/shop/orders-2026-10.yaml:1
  approved  Rita Reviewer <rita@example.com>
  began     2026-11-24 12:00:02Z
  ended     2026-11-24 12:00:14Z, after 12s
  notes     CredentialVerified: a fresh login with the new credential opened 1
            of 1 replicas
  commits   2026-11-24 12:00:14Z %s Successful

shop/orders-2026-11: Successful
  asked     2026-11-24 14:00:00Z Dana DBA <dana@example.com>
            %s rotate orders
            rotations/shop/orders-2026-11.yaml:1
  approved  Rita Reviewer <rita@example.com>
  began     2026-11-24 14:00:02Z
  ended     2026-11-24 14:00:14Z, after 12s
  notes     CredentialVerified: a fresh login with the new credential opened 1
            of 1 replicas
  commits   2026-11-24 14:00:14Z %s Successful
`, log[5].Hash, log[4].Hash, log[1].Hash, log[0].Hash), ""}, gitrota(t, dir, nil, "history", "orders"))

	got := gitrota(t, dir, nil, "history", "shop/stock", "-o", "json")
	require.Equal(t, 0, got.code, got.stderr)
	var story struct {
		Database string
		Requests []struct {
			Request, Phase string
			Remarks        []struct{ Type, Reason, Message string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &story))
	require.Equal(t, "shop/stock", story.Database)
	require.Equal(t, "Timeout", story.Requests[0].Remarks[0].Reason)
	for _, line := range strings.Split(gitrota(t, dir, nil, "history", "stock").stdout, "\n") {
		require.LessOrEqual(t, len(line), 80, line)
	}

	t.Run("also of one whose status somebody removed", func(t *testing.T) {
		repo := a.repo.Fork("deleted")
		repo.Pull()
		deleted := repo.At(a.at).Delete("Clean up", "rotation-status/shop/stock-2026-11.yaml")
		got := gitrota(t, repo.Clone(), nil, "history", "stock")
		require.Contains(t, got.stdout, deleted[:12]+" removed the status, by Dana DBA\n")
		require.Contains(t, got.stdout, "the status is not there any more")
	})
	t.Run("and asks which, if there are several", func(t *testing.T) {
		a.rotate("crm", "orders-2026-12", "orders", "Successful", "")
		dir := a.repo.Clone()
		require.Equal(t, result{1, "", "gitrota: several databases are named orders: crm/orders, shop/orders; say which one as NAMESPACE/NAME\n"}, gitrota(t, dir, nil, "history", "orders"))
		require.Contains(t, gitrota(t, dir, nil, "history", "crm/orders").stdout, "crm/orders: 1 request, 1 rotation, the last on 2026-11-24 15:00:14Z\n")
		require.Equal(t, result{1, "", "gitrota: no status tells of a rotation of nobody; there are some of crm/orders, shop/orders, shop/stock; use git pull if one is missing\n"}, gitrota(t, dir, nil, "history", "nobody"))
	})
}
