package audit_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/audit"
)

// busy is a repository in which everything happened that may happen.
func busy(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	orders := w.rotate("orders-1", "orders")

	// A manifest that cannot be read is denied until it is mended.
	typo := asked{name: "stock-1", database: "stock", path: "rotations/shop/stock-1.yaml", text: request("stock-1", "stock", "timout: 5m")}
	typo.commit = w.commit(map[string]string{typo.path: typo.text}, "shop: rotate stock")
	w.record(status{asked: typo, phase: "Denied", unbound: true, conditions: []string{condition("Denied", "UnknownField", "no field timout", *w.now)}})
	stock := w.begun(w.ask("stock-1", "stock"))
	w.record(w.ended(stock, "Failed", "Timeout", "the step did not end"))

	// A pull request that was opened before statuses were written, and merged after.
	w.someone().Pull()
	w.repo.Git("checkout", "--quiet", "-B", "proposal", w.marks["orders-1 Progressing"])
	proposal := asked{name: "orders-2", database: "orders", path: "rotations/shop/orders-2.yaml", text: request("orders-2", "orders")}
	w.repo.OnBranch("proposal").At(w.tick()).Put(proposal.path, proposal.text)
	w.repo.At(*w.now).Git("commit", "--quiet", "-m", "shop: rotate orders once more")
	proposal.commit = w.repo.OnBranch("proposal").Force()
	w.marks["merge"] = w.someone().Merge("proposal", "Merge the proposal")
	second := w.ended(w.begun(proposal), "Successful", "Successful", "done")
	// One commit with the results of two requests, and one without any.
	third := w.ended(w.begun(w.ask("users-1", "users")), "Successful", "Successful", "done")
	w.record(second, third)
	c := change(second)
	c.Trailers, c.Subject = nil, "report 1 problem in the manifests"
	c.Files = map[string][]byte{statusPath + "/problems.yaml": []byte("kind: ManifestProblems\n")}
	w.write(c)

	// What may become of a status after the end, and changes again.
	w.tick()
	orders.conditions = append(orders.conditions, condition("RequestChanged", "SpecImmutable", "the spec differs", *w.now))
	second.conditions = append(second.conditions, condition("AuthSecretOverwritten", "AuthSecretOverwritten", "kubectl wrote", *w.now))
	w.record(orders, second)
	second.conditions[len(second.conditions)-1] = condition("AuthSecretOverwritten", "AuthSecretOverwritten", "it is put back", w.tick())
	w.record(second)
	w.commit(map[string]string{"README.md": "Our rotations, and nothing else.\n"}, "Say more")
	w.marks["tip"] = w.repo.Head()
	return w
}

func TestAGoodHistoryIsProven(t *testing.T) {
	w := busy(t)
	report := w.proven(w.asRequester("dana@example.com " + w.person.Public))
	require.Equal(t, w.marks["tip"], report.Tip)
	require.Equal(t, 8, report.StatusCommits)
	require.Equal(t, 16, report.Commits)
	require.Equal(t, []string{w.agent.Name}, report.Keys)
	require.Equal(t, 0, report.Unproven)
	require.Len(t, report.Databases, 3)

	orders := report.Databases[0]
	require.Equal(t, audit.Database{Name: "shop/orders", Rotations: 2, Last: orders.Last}, orders)
	require.Equal(t, "shop/orders-2", orders.Last.Request)
	require.Equal(t, "Dana DBA <dana@example.com>", orders.Last.Author)
	require.Equal(t, "dana@example.com", orders.Last.Requester)
	require.Equal(t, w.marks["users-1 Successful"], orders.Last.Commit)
	require.Equal(t, agentEmail, orders.Last.SignedBy)
	require.Equal(t, "shop/stock", report.Databases[1].Name)
	require.Equal(t, 1, report.Databases[1].Failed)
	require.Nil(t, report.Databases[1].Last)

	for _, commit := range []string{"orders-1 Progressing", "orders-1 Successful", "users-1 Successful"} {
		words, err := w.repo.VerifyCommit(w.marks[commit], w.agent, agentEmail+" "+w.agent.Public)
		require.NoError(t, err, words)
	}
}

func TestAHistoryWithStatusesOnABranchOfTheirOwnIsProven(t *testing.T) {
	w := newWorld(t)
	w.branch = "gitrota"
	w.rotate("orders-1", "orders")
	w.rotate("orders-2", "orders")
	report := w.proven()
	require.Equal(t, 2, report.Databases[0].Rotations)
	require.Equal(t, 4, report.StatusCommits)
	require.Equal(t, w.repo.Head(), report.Source)

	t.Run("and refuted when the requests are taken back by force", func(t *testing.T) {
		w := w.fork(t)
		w.repo.Reset(w.marks["asked orders-1"])
		broken := w.refuted(audit.SourceMissing, w.marks["orders-2 Successful"], "rotation-status/shop/orders-2.yaml")
		require.Contains(t, broken.Message, w.marks["asked orders-2"])
	})
}

func TestAKeyIsJudgedAtTheTimeOfTheCommit(t *testing.T) {
	w := newWorld(t)
	w.rotate("orders-1", "orders")
	old := w.agent
	w.agent = w.server.NewSSHKey("ed25519", "")
	w.tick()
	changed := *w.now
	w.rotate("orders-2", "orders")
	lines := func(until time.Time) func(*audit.Options) {
		return func(o *audit.Options) {
			o.Agents = w.signers(
				agentEmail+` valid-before="`+until.Format("20060102150405")+`Z" `+old.Public,
				agentEmail+` valid-after="`+changed.Format("20060102150405")+`Z" `+w.agent.Public)
		}
	}
	require.Equal(t, []string{old.Name, w.agent.Name}, w.proven(lines(changed)).Keys)

	broken := w.refuted(audit.KeyNotValidThen, w.marks["orders-1 Progressing"], "rotation-status/README.md", lines(noon))
	require.Contains(t, broken.Message, old.Name)
}

func TestSinceSaysWhatIsNotProven(t *testing.T) {
	w := newWorld(t)
	signing := w.agent
	// Statuses began unsigned, as a person's would be.
	s := w.ended(w.begun(w.ask("orders-1", "orders")), "Successful", "Successful", "done")
	w.repo.SignWith(nil)
	unsigned := w.agentHands().Commit(map[string]string{s.path(): s.content()}, "rotate shop/orders: Successful")
	w.repo.SignWith(w.person)
	require.NotNil(t, signing)
	since := w.commit(map[string]string{"README.md": "Statuses are signed from now on.\n"}, "Sign")
	w.refuted(audit.ForeignWriter, unsigned, s.path())

	w.rotate("users-1", "users")
	from := func(o *audit.Options) { o.Since = hash(since) }
	report := w.proven(from)
	require.Equal(t, since, report.Since)
	require.Equal(t, 1, report.Unproven)
	require.Equal(t, []audit.Database{{Name: "shop/orders", Unproven: 1}}, report.Databases[:1])
	require.Equal(t, 1, report.Databases[1].Rotations)

	t.Run("and what comes after it holds to what was there", func(t *testing.T) {
		w := w.fork(t)
		rewritten := w.ended(w.begun(s.asked), "Failed", "Timeout", "it did not work")
		w.refuted(audit.StatusRewritten, w.record(rewritten), s.path(), from)
	})
	t.Run("but not without the commit", func(t *testing.T) {
		_, err := w.verify(func(o *audit.Options) { o.Since = hash("1111111111111111111111111111111111111111") })
		require.ErrorContains(t, err, "from which on the history is to be proven, is not in the history of")
	})
}

func TestNoStatusesProveNothing(t *testing.T) {
	w := newWorld(t)
	_, err := w.verify()
	require.EqualError(t, err, "no commit has ever changed rotation-status, so there is nothing to prove: is it the right branch, and the right --status-path?")
}
