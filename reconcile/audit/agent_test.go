package audit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/reconcile/audit"
)

// Somebody has the agent's key, or the agent is wrong: the signature is good, and what it says does not hold.
func TestWhatTheAgentMayNotWriteIsRefutedByName(t *testing.T) {
	good := newWorld(t)
	orders := good.rotate("orders-1", "orders")
	stock := good.ask("stock-1", "stock")
	changed := stock
	changed.text = request("stock-1", "stock", "timeout: 1h")
	changed.commit = good.commit(map[string]string{stock.path: changed.text}, "Take longer")
	good.proven()
	good.repo.Pull()
	const stockFile = "rotation-status/shop/stock-1.yaml"
	successful := func(w *world, a asked) status {
		return w.ended(w.begun(a), "Successful", "Successful", "done")
	}
	only := func(c *gitsource.Change, path string) *gitsource.Change {
		delete(c.Files, overviewFile)
		if path != "" {
			c.Files[path] = nil
		}
		return c
	}
	for name, tc := range map[string]struct {
		reason audit.Reason
		file   string
		says   string
		write  func(w *world) string
	}{
		"a status commit that changes other files": {audit.ForeignFiles, "", "not below rotation-status", func(w *world) string {
			s := successful(w, changed)
			w.repo.SignWith(w.agent)
			return w.agentHands().Commit(map[string]string{s.path(): s.content(), stock.path: stock.text}, "rotate shop/stock: Successful")
		}},
		"a status that is deleted": {audit.StatusDeleted, ordersFile, "gone", func(w *world) string {
			return w.write(only(change(successful(w, changed)), ordersFile))
		}},
		"an ended status that runs again": {audit.StatusWentBackwards, ordersFile, "had ended as Successful, and is Progressing", func(w *world) string {
			return w.write(change(w.begun(orders.asked)))
		}},
		"an ended status with another end": {audit.StatusRewritten, ordersFile, "is said to have ended as Failed", func(w *world) string {
			return w.write(change(w.ended(w.begun(orders.asked), "Failed", "Timeout", "no")))
		}},
		"an ended status with another condition": {audit.StatusRewritten, ordersFile, "RolledBack", func(w *world) string {
			s := orders
			s.conditions = append(append([]string(nil), s.conditions...), condition("RolledBack", "RolledBack", "as before", *w.now))
			return w.write(change(s))
		}},
		"an ended status without one of its conditions": {audit.StatusRewritten, ordersFile, "RotateAuth of an ended request is gone", func(w *world) string {
			s := orders
			s.conditions = s.conditions[1:]
			return w.write(change(s))
		}},
		"an ended status of another request": {audit.StatusRewritten, ordersFile, "it was the status of rotation", func(w *world) string {
			s := orders
			s.text = request("orders-1", "orders", "timeout: 1h")
			return w.write(change(s))
		}},
		"a status at another request's place": {audit.StatusUnreadable, stockFile, "shop/orders-1", func(w *world) string {
			c := change(orders)
			c.Files = map[string][]byte{stockFile: []byte(orders.content())}
			return w.write(c)
		}},
		"a status that is none": {audit.StatusUnreadable, stockFile, "status.phase", func(w *world) string {
			c := change(successful(w, changed))
			c.Files[stockFile] = []byte("kind: MSSQLServerOpsRequest\n")
			return w.write(c)
		}},
		"a commit that is older than the one before it": {audit.TimeWentBackwards, "", "the status commit before it", func(w *world) string {
			*w.now = w.now.Add(-time.Hour)
			return w.write(change(successful(w, changed)))
		}},
		"a condition from the future": {audit.TimeWentBackwards, stockFile, "after the commit", func(w *world) string {
			s := w.begun(changed)
			s.conditions = append(s.conditions, condition("Successful", "Successful", "done", w.now.Add(time.Hour)))
			s.phase = "Successful"
			return w.write(change(s))
		}},
		"a step after the end": {audit.TimeWentBackwards, stockFile, "the request had ended at", func(w *world) string {
			s := successful(w, changed)
			*w.now = w.now.Add(time.Hour)
			s.conditions = append(s.conditions, condition("CredentialVerified", "CredentialVerified", "late", *w.now))
			return w.write(change(s))
		}},
		"trailers with another phase": {audit.TrailersDiffer, stockFile, `the trailer Rotation-Phase says "Failed", and the status "Successful"`, func(w *world) string {
			c := change(successful(w, changed))
			c.Trailers[2].Value = "Failed"
			return w.write(c)
		}},
		"trailers of a status that did not change": {audit.TrailersDiffer, "", "shop/orders-1", func(w *world) string {
			c := change(successful(w, changed))
			c.Trailers = append(c.Trailers, gitsource.Trailer{Key: "Rotation-Request", Value: "shop/orders-1"})
			return w.write(c)
		}},
		"a rotation that nobody asked for": {audit.SourceMissing, stockFile, "is not in the history behind this one", func(w *world) string {
			s := successful(w, changed)
			s.commit = strings.Repeat("1", 40)
			return w.write(change(s))
		}},
		"a rotation without a source": {audit.SourceMissing, stockFile, "names no commit", func(w *world) string {
			s := successful(w, changed)
			s.commit = ""
			return w.write(change(s))
		}},
		"a rotation whose file is not in the source": {audit.SourceMissing, stockFile, "has no file", func(w *world) string {
			s := successful(w, changed)
			s.asked.path = "rotations/elsewhere.yaml"
			return w.write(change(s))
		}},
		"a rotation whose file asks for others": {audit.SourceMissing, stockFile, "holds no request shop/stock-1", func(w *world) string {
			s := successful(w, changed)
			s.asked.path = orders.asked.path
			return w.write(change(s))
		}},
		"a request that was changed after its commit was approved": {audit.RequestChanged, stockFile, "the request was changed in between", func(w *world) string {
			s := successful(w, changed)
			s.commit = stock.commit
			return w.write(change(s))
		}},
		"a request that is written down as another one": {audit.RequestChanged, stockFile, "is not that of the rotation", func(w *world) string {
			s := successful(w, changed)
			c := change(s)
			c.Files[stockFile] = []byte(strings.Replace(s.content(), "timeout: 1h", "timeout: 2h", 1))
			return w.write(c)
		}},
		"an approval by nobody": {audit.ApprovalMissing, stockFile, "names nobody", func(w *world) string {
			s := successful(w, changed)
			s.approvals = []string{stock.commit}
			return w.write(change(s))
		}},
		"an approval that is not there": {audit.ApprovalMissing, stockFile, "names a commit that is not in the history", func(w *world) string {
			s := successful(w, changed)
			s.approvals = []string{"Rita <rita@example.com> " + strings.Repeat("1", 40)}
			return w.write(change(s))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := good.fork(t)
			commit := tc.write(w)
			require.Contains(t, w.refuted(tc.reason, commit, tc.file).Message, tc.says)
		})
	}
}

func TestWhoMayAskIsCheckedWhereTheKeysAreGiven(t *testing.T) {
	w := newWorld(t)
	rita := w.server.NewSSHKey("ed25519", "")
	s := w.begun(w.ask("orders-1", "orders"))
	w.repo.SignWith(rita)
	approval := w.someone().As("Rita", "rita@example.com").Commit(map[string]string{"approvals/1": "yes\n"}, "Approve")
	w.repo.SignWith(w.person)
	s.approvals = []string{"Rita <rita@example.com> " + approval}
	done := w.record(w.ended(s, "Successful", "Successful", "done"))

	dana, ritas := "dana@example.com "+w.person.Public, "rita@example.com "+rita.Public
	report := w.proven(w.asRequester(dana, ritas))
	require.Equal(t, s.approvals, report.Databases[0].Last.Approvals)
	require.Equal(t, "dana@example.com", report.Databases[0].Last.Requester)
	w.proven()

	broken := w.refuted(audit.ApprovalMissing, done, ordersFile, w.asRequester(dana))
	require.Contains(t, broken.Message, rita.Name)
	broken = w.refuted(audit.UntrustedRequest, done, ordersFile, w.asRequester(ritas))
	require.Contains(t, broken.Message, w.marks["asked orders-1"])
	broken = w.refuted(audit.ApprovalMissing, done, ordersFile, w.asRequester(dana, "someone@example.com "+rita.Public))
	require.Contains(t, broken.Message, "names a commit that someone@example.com has signed")

	t.Run("and a request that nobody has signed is refuted", func(t *testing.T) {
		w := w.fork(t)
		s := w.ended(w.begun(w.ask("stock-1", "stock")), "Successful", "Successful", "done")
		broken := w.refuted(audit.UntrustedRequest, w.record(s), s.path(), w.asRequester(dana, ritas))
		require.Contains(t, broken.Message, "not signed")
	})
}
