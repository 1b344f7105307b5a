package reconcile

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
)

func TestAKeeperIsReadBackAsItWasWritten(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	status := Status{Request: Request{Namespace: "demo", Name: "r", ID: "id-2", Database: "db", Timeout: time.Minute, MaxRetries: 1}, Phase: PhaseProgressing}
	status.set(condition(TypeStaged, "staged"), now)
	for name, keeper := range map[string]Keeper{
		"empty":  {},
		"staged": {Next: Entry{login("New-1"), "id-2"}, Live: Entry{login("Old-1"), "id-1"}, Record: &status},
		"promoted, with nothing to restart": {
			Next: Entry{login("New-1"), "id-2"}, Live: Entry{login("Old-1"), ""}, Record: &status, Restart: map[string]string{},
		},
		"settled": {
			Live: Entry{login("New-1"), "id-2"}, Previous: Entry{login("Old-1"), "id-1"}, Record: &status,
			Finished: []Finished{{ID: "id-2", Request: "demo/r", Phase: PhaseSuccessful, At: now}},
		},
		"with what was dropped": {
			Live: Entry{login("Old-1"), "id-1"}, Dropped: [maxDropped]Entry{{login("Third-1"), "id-4"}, {login("Second-1"), "id-3"}, {login("First-1"), "id-2"}},
		},
		"with a history": {Live: Entry{login("New-1"), "id-2"}, History: credential.History{{Salt: []byte("salt"), Cost: 2, Value: []byte("value")}}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := keeper.data()
			require.NoError(t, err)
			back, err := readKeeper(data)
			require.NoError(t, err)
			require.Equal(t, keeper, back)
		})
	}
}

func TestADamagedKeeperIsNotTakenForAnEmptyOne(t *testing.T) {
	for name, data := range map[string]map[string]credential.Password{
		"half a credential":                {"next.password": credential.NewPassword("x")},
		"a username without a password":    {"live.username": credential.NewPassword("sa")},
		"a record that is not JSON":        {"record": credential.NewPassword("{")},
		"a staged credential of no record": {"next.username": credential.NewPassword("sa"), "next.password": credential.NewPassword("x"), "next.rotation-id": credential.NewPassword("id")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readKeeper(data)
			require.Error(t, err)
		})
	}
}

func TestTheKeeperRemembersTheNewestRequestsWithinASecretsSize(t *testing.T) {
	var k Keeper
	for i := range maxFinished + 500 {
		k.remember(Status{Request: Request{Namespace: "a-namespace-of-some-length", Name: fmt.Sprintf("a-request-with-a-long-name-%d", i), ID: fmt.Sprintf("%032d", i)}, Phase: PhaseSuccessful}, time.Now())
	}
	k.remember(Status{Request: Request{ID: fmt.Sprintf("%032d", maxFinished+499)}}, time.Now())
	require.Len(t, k.Finished, maxFinished)
	_, forgotten := k.finished(fmt.Sprintf("%032d", 499))
	require.False(t, forgotten)
	_, known := k.finished(fmt.Sprintf("%032d", maxFinished+499))
	require.True(t, known)
	data, err := k.data()
	require.NoError(t, err)
	require.Less(t, len(data["finished"].Reveal()), 512<<10, "half of what a Secret may hold")
}

func TestALongHistoryIsASmallPartOfASecret(t *testing.T) {
	k := Keeper{Record: &Status{Request: Request{Password: &credential.Rules{Reuse: credential.MaxReuse}}}}
	for i := range credential.MaxReuse + 5 {
		record := *k.Record
		k.Next = Entry{login(fmt.Sprint("Password-", i)), "id"}
		require.NoError(t, k.settle(1, rand.Reader))
		k.Record = &record
	}
	require.Len(t, k.History, credential.MaxReuse)
	data, err := k.data()
	require.NoError(t, err)
	require.Less(t, len(data["history"].Reveal()), 8<<10)
}
