package audit_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/reconcile/audit"
)

const (
	ordersFile   = "rotation-status/shop/orders-1.yaml"
	overviewFile = "rotation-status/README.md"
)

// Somebody who may push does something to the history of two rotations. main is at the last commit of it.
func TestTamperingByOthersIsRefutedByName(t *testing.T) {
	good := newWorld(t)
	orders := good.rotate("orders-1", "orders")
	stock := good.rotate("stock-1", "stock")
	tip := good.commit(map[string]string{"NOTES.md": "All is well.\n"}, "Note")
	good.proven()
	good.repo.Pull()

	for name, tamper := range map[string]func(w *world) (reason audit.Reason, commit, file string){
		"the last status commit is amended": func(w *world) (audit.Reason, string, string) {
			w.repo.Git("reset", "--quiet", "--hard", w.marks["stock-1 Successful"])
			w.repo.Put("rotation-status/shop/stock-1.yaml", string(bytes.ReplaceAll([]byte(stock.content()), []byte("auth rotate"), []byte("AUTH ROTATE"))))
			w.someone().Git("commit", "--quiet", "--amend", "--no-edit")
			return audit.UnsignedStatus, w.repo.Force(), overviewFile
		},
		"the message of an older status commit is amended, and the rest rebased": func(w *world) (audit.Reason, string, string) {
			w.repo.Git("checkout", "--quiet", w.marks["orders-1 Progressing"])
			w.someone().Git("commit", "--quiet", "--amend", "-m", "tidy up")
			amended := w.repo.Git("rev-parse", "HEAD")
			w.someone().Git("rebase", "--quiet", "--onto", amended, w.marks["orders-1 Progressing"], "main")
			w.repo.Force()
			return audit.ForeignWriter, amended, overviewFile
		},
		"a status is deleted": func(w *world) (audit.Reason, string, string) {
			return audit.StatusDeleted, w.someone().Delete("Clean up", ordersFile), ordersFile
		},
		"all statuses are deleted": func(w *world) (audit.Reason, string, string) {
			w.repo.Git("rm", "-r", "--quiet", "rotation-status")
			w.someone().Git("commit", "--quiet", "-m", "Clean up")
			return audit.StatusDeleted, w.repo.Force(), ordersFile
		},
		"a status commit is reverted": func(w *world) (audit.Reason, string, string) {
			w.repo.Git("reset", "--quiet", "--hard", w.marks["stock-1 Successful"])
			w.repo.Force()
			return audit.StatusWentBackwards, w.someone().Revert(w.marks["stock-1 Successful"]), "rotation-status/shop/stock-1.yaml"
		},
		"an ended status is edited": func(w *world) (audit.Reason, string, string) {
			edited := bytes.ReplaceAll([]byte(orders.content()), []byte("Dana DBA"), []byte("Otto Other"))
			return audit.StatusRewritten, w.commit(map[string]string{ordersFile: string(edited)}, "Fix a typo"), ordersFile
		},
		"the overview is edited": func(w *world) (audit.Reason, string, string) {
			return audit.ForeignWriter, w.commit(map[string]string{overviewFile: "# All rotated\n"}, "Update"), overviewFile
		},
		"the agent's name is forged": func(w *world) (audit.Reason, string, string) {
			s := w.ended(w.begun(asked{"users-1", "users", "rotations/users-1.yaml", tip, request("users-1", "users")}), "Successful", "Successful", "done")
			return audit.UnsignedStatus, w.agentHands().Commit(map[string]string{s.path(): s.content()}, "rotate shop/users: Successful"), s.path()
		},
		"the agent's name is forged, with another key": func(w *world) (audit.Reason, string, string) {
			w.repo.SignWith(w.person)
			s := w.begun(w.ask("users-1", "users"))
			return audit.UntrustedKey, w.agentHands().Commit(map[string]string{s.path(): s.content()}, "rotate shop/users: Progressing"), s.path()
		},
		"status commits are reordered": func(w *world) (audit.Reason, string, string) {
			w.repo.Git("reset", "--quiet", "--hard", w.marks["asked orders-1"])
			w.someone().Git("cherry-pick", w.marks["asked stock-1"])
			var first string
			for _, commit := range []string{"stock-1 Progressing", "orders-1 Progressing", "orders-1 Successful", "stock-1 Successful"} {
				of, _, _ := strings.Cut(commit, " ")
				w.repo.Git("checkout", "--quiet", w.marks[commit], "--", "rotation-status/shop/"+of+".yaml", overviewFile)
				w.someone().Git("commit", "--quiet", "-C", w.marks[commit])
				if first == "" {
					first = w.repo.Git("rev-parse", "HEAD")
				}
			}
			w.repo.Force()
			return audit.UnsignedStatus, first, overviewFile
		},
		"a status commit is dropped": func(w *world) (audit.Reason, string, string) {
			w.someone().Git("rebase", "--quiet", "-X", "theirs", "--onto", w.marks["orders-1 Progressing"], w.marks["orders-1 Successful"], "main")
			w.repo.Force()
			return audit.UnsignedStatus, w.repo.Git("rev-parse", "HEAD~2"), overviewFile
		},
		"a commit that is no status commit is dropped": func(w *world) (audit.Reason, string, string) {
			w.someone().Git("rebase", "--quiet", "--onto", w.marks["asked orders-1"]+"^", w.marks["asked orders-1"], "main")
			w.repo.Force()
			return audit.UnsignedStatus, w.repo.Git("rev-parse", "HEAD~5"), overviewFile
		},
		"everything is squashed": func(w *world) (audit.Reason, string, string) {
			w.repo.Git("reset", "--quiet", "--soft", w.marks["asked orders-1"])
			w.someone().Git("commit", "--quiet", "-m", "Rotations of November")
			return audit.ForeignWriter, w.repo.Force(), overviewFile
		},
		"a merge takes older statuses": func(w *world) (audit.Reason, string, string) {
			w.repo.Git("checkout", "--quiet", "-B", "side", w.marks["orders-1 Successful"])
			w.someone().Git("commit", "--quiet", "--allow-empty", "-m", "On the side")
			w.someone().Git("merge", "--quiet", "-s", "ours", "-m", "Merge main", "main")
			return audit.StatusWentBackwards, w.repo.Force(), overviewFile
		},
		"a merge edits a status": func(w *world) (audit.Reason, string, string) {
			w.repo.Git("checkout", "--quiet", "-B", "side", w.marks["asked orders-1"])
			w.someone().Git("commit", "--quiet", "--allow-empty", "-m", "On the side")
			w.repo.Git("checkout", "--quiet", "main")
			w.repo.Git("merge", "--quiet", "--no-ff", "--no-commit", "side")
			w.repo.Put(ordersFile, string(bytes.ReplaceAll([]byte(orders.content()), []byte("Dana DBA"), []byte("Otto Other"))))
			w.someone().Git("commit", "--quiet", "-m", "Merge the side")
			return audit.ForeignWriter, w.repo.Force(), ordersFile
		},
		"old statuses are committed again, in the words of the old commit": func(w *world) (audit.Reason, string, string) {
			w.repo.Git("checkout", "--quiet", w.marks["orders-1 Progressing"], "--", "rotation-status")
			w.someone().Git("commit", "--quiet", "-C", w.marks["orders-1 Progressing"])
			return audit.StatusWentBackwards, w.repo.Force(), ordersFile
		},
		"a signature is put on another commit": func(w *world) (audit.Reason, string, string) {
			signed := w.repo.Raw(w.marks["orders-1 Successful"])
			moved := strings.Replace(signed, w.marks["orders-1 Progressing"], w.marks["asked orders-1"], 1)
			require.NotEqual(w, signed, moved)
			commit := w.repo.Store([]byte(moved))
			w.repo.Git("fetch", "--quiet", "origin", commit)
			w.repo.Git("reset", "--quiet", "--hard", commit)
			w.repo.Force()
			return audit.BadSignature, commit, overviewFile
		},
		"statuses become a file": func(w *world) (audit.Reason, string, string) {
			w.repo.Git("rm", "-r", "--quiet", "rotation-status")
			w.repo.Put("rotation-status", "gone\n")
			w.someone().Git("commit", "--quiet", "-m", "Clean up")
			return audit.StatusDeleted, w.repo.Force(), ordersFile
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := good.fork(t)
			reason, commit, file := tamper(w)
			w.refuted(reason, commit, file)
		})
	}
}

func TestTwoLinesOfStatusesAreRefuted(t *testing.T) {
	good := newWorld(t)
	good.rotate("orders-1", "orders")
	stock := good.ask("stock-1", "stock")
	users := good.ask("users-1", "users")
	good.repo.Pull()

	merge := func(w *world) string {
		w.repo.Pull()
		w.repo.Git("fetch", "--quiet", "origin")
		w.someone().Git("merge", "--quiet", "-X", "ours", "-m", "Merge the side", "origin/side")
		return w.repo.Force()
	}
	t.Run("that do not know of each other", func(t *testing.T) {
		w := good.fork(t)
		w.record(w.begun(stock))
		w.repo.Git("push", "--quiet", "origin", good.repo.Head()+":refs/heads/side")
		w.branch = "side"
		w.record(w.begun(users))
		w.branch = "main"
		merged := merge(w)
		broken := w.refuted(audit.StatusForked, merged, "")
		require.Contains(t, broken.Message, w.marks["stock-1 Progressing"])
		require.Contains(t, broken.Message, w.marks["users-1 Progressing"])
	})
	t.Run("in which one rotation succeeds twice", func(t *testing.T) {
		w := good.fork(t)
		w.record(w.ended(w.begun(stock), "Successful", "Successful", "done"))
		w.repo.Git("push", "--quiet", "origin", good.repo.Head()+":refs/heads/side")
		w.branch = "side"
		again := w.record(w.ended(w.begun(stock), "Successful", "Successful", "done again"))
		w.branch = "main"
		merge(w)
		w.refuted(audit.RotationRepeated, again, "rotation-status/shop/stock-1.yaml")
	})
}

func TestWhatWasCutOffIsMissedByTheNextAudit(t *testing.T) {
	w := newWorld(t)
	w.rotate("orders-1", "orders")
	w.rotate("stock-1", "stock")
	anchor := w.proven().Tip
	contains := func(o *audit.Options) { o.Contains = hash(anchor) }
	w.rotate("users-1", "users")
	w.proven(contains)

	w.repo.Reset(w.marks["orders-1 Successful"])
	w.proven() // what is left is true, and nothing in it says that there was more
	w.refuted(audit.HistoryTruncated, anchor, "", contains)
}
