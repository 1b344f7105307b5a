package reconcile

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// endedAs is the status of a request that has ended.
func endedAs(name string, at time.Time, annotation string) Status {
	s := Status{Phase: PhaseSuccessful, Request: Request{
		Kind: "MSSQLServerOpsRequest", Namespace: "demo", Name: name, ID: "id-" + name, Database: "db",
		Manifest: map[string]any{
			"apiVersion": "ops.kubedb.com/v1alpha1", "kind": "MSSQLServerOpsRequest",
			"metadata": map[string]any{"name": name, "annotations": map[string]any{"note": annotation}},
			"spec":     map[string]any{"type": "RotateAuth", "databaseRef": map[string]any{"name": "db"}},
		},
		Source: Source{Commit: "c0ffee", Author: "Dana <dana@example.com>"},
	}}
	s.set(condition(TypeRotateAuth, "began"), at)
	s.set(condition(TypeStaged, "staged"), at.Add(time.Second))
	s.set(condition(TypeSuccessful, "done"), at.Add(time.Minute))
	return s
}

func TestTheJournalIsBoundedAndLosesDetailBeforeItLosesAnEntry(t *testing.T) {
	var k Keeper
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for n := range 150 {
		k.end("one", endedAs(fmt.Sprint("r", n), at.Add(time.Duration(n)*time.Hour), strings.Repeat("x", 5_000)), at.Add(time.Duration(n)*time.Hour))
		require.NoError(t, k.fit())
	}
	require.Len(t, k.Journal, 150, "none is lost")
	text, err := json.Marshal(k.Journal)
	require.NoError(t, err)
	require.LessOrEqual(t, len(text), maxJournal+2)

	oldest, newest := k.Journal[0], k.Journal[149]
	require.True(t, oldest.Short)
	require.False(t, newest.Short)
	require.Equal(t, endedAs("r149", at.Add(149*time.Hour), strings.Repeat("x", 5_000)), newest.Status)
	require.Equal(t, "id-r0", oldest.Status.Request.ID)
	require.Equal(t, "c0ffee", oldest.Status.Request.Source.Commit)
	require.Equal(t, PhaseSuccessful, oldest.Status.Phase)
	require.Equal(t, []string{TypeRotateAuth, TypeSuccessful}, []string{oldest.Status.Conditions[0].Type, oldest.Status.Conditions[1].Type})
	require.Equal(t, at.Add(time.Minute), oldest.Status.ended())
	require.Contains(t, oldest.Status.Conditions[1].Message, "no room for the details")

	content, err := marshalStatus(oldest.Status)
	require.NoError(t, err)
	back, err := ParseStatus(content)
	require.NoError(t, err, "it is a status file all the same")
	require.Equal(t, "demo/db", back.Request.DatabaseKey())

	for n := range 1000 {
		k.end("one", endedAs(fmt.Sprint("more-", n), at, ""), at.Add(time.Duration(n)*time.Second))
	}
	require.NoError(t, k.fit())
	text, err = json.Marshal(k.Journal)
	require.NoError(t, err)
	require.LessOrEqual(t, len(text), maxJournal+2)
	require.Greater(t, len(k.Journal), 400)
	require.Equal(t, "id-more-999", k.Journal[len(k.Journal)-1].Status.Request.ID)
	_, known := k.finished("id-r0")
	require.True(t, known, "what has left the journal never runs again")
}

func TestTheJournalKeepsWhatGitDoesNotHaveAndTheNewestEntry(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var k Keeper
	for n, owner := range []string{"one", "other", "one", "one"} {
		k.end(owner, endedAs(fmt.Sprint("r", n), at, ""), at.Add(time.Duration(n)*time.Hour))
	}
	names := func() (names []string) {
		for _, e := range k.Journal {
			names = append(names, e.Status.Request.Name)
		}
		return names
	}
	k.prune("one", (&Engine{}).told)
	require.Equal(t, []string{"r0", "r1", "r2", "r3"}, names())
	k.prune("one", func(r Request) Status {
		if r.Name == "r2" {
			return Status{}
		}
		return endedAs(r.Name, at, "")
	})
	require.Equal(t, []string{"r1", "r2", "r3"}, names(), "another owner's are another's to judge")
	k.prune("one", func(r Request) Status { return endedAs(r.Name, at, "") })
	require.Equal(t, []string{"r1", "r3"}, names())
}

func TestGitCoversAnEntryThatItSaysAllOfOrSomethingLater(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	entry := endedAs("r", at, "")
	entry.set(condition(TypeOverwritten, "flux wrote another credential"), at.Add(time.Hour))
	git := endedAs("r", at, "")
	require.False(t, covers(git, entry), "Git has not heard of the overwriting")
	git.set(Condition{Type: TypeOverwritten, Status: "False", Reason: ReasonAuthSecretOverwritten}, at.Add(2*time.Hour))
	require.True(t, covers(git, entry), "it has, and that it is over")
	git.Request.ID = "another"
	require.False(t, covers(git, entry))
	require.False(t, covers(Status{}, entry))
}

func TestARequestThatIsTooLongForTheKeeperIsRefusedBeforeAnythingHappens(t *testing.T) {
	require.Nil(t, requestFits(world{status: endedAs("r", time.Now(), "a note")}))
	err := requestFits(world{status: endedAs("r", time.Now(), strings.Repeat("x", maxRequest))})
	require.Equal(t, ReasonRequestTooLarge, err.Reason)
	require.Contains(t, err.Error(), "take out of its annotations what is about something else")
}
