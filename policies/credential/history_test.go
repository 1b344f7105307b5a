package credential_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/credential"
)

func TestAHistoryKnowsTheLastPasswords(t *testing.T) {
	password := func(n int) credential.Password { return credential.NewPassword(fmt.Sprint("Canary-Password-", n)) }
	var history credential.History
	add := func(n int) {
		var err error
		history, err = history.Add(password(n), 2, rand.Reader, 3)
		require.NoError(t, err)
	}
	known := func() (known []int) {
		for n := range 10 {
			if history.Contains(password(n)) {
				known = append(known, n)
			}
		}
		return known
	}
	require.Empty(t, known())
	for n := range 5 {
		add(n)
	}
	require.Equal(t, []int{2, 3, 4}, known(), "three are kept")
	require.True(t, history.Last(1).Contains(password(4)))
	require.False(t, history.Last(1).Contains(password(3)))
	require.Len(t, history.Last(10), 3)

	t.Run("one that comes back is the newest, and is there once", func(t *testing.T) {
		before := history
		add(2)
		require.Equal(t, []int{2, 3, 4}, known())
		require.True(t, history.Last(1).Contains(password(2)))
		require.True(t, before.Last(1).Contains(password(4)), "what was there before is left alone")
	})

	t.Run("its JSON comes back and shows no password", func(t *testing.T) {
		text, err := json.Marshal(history)
		require.NoError(t, err)
		require.NotContains(t, string(text)+fmt.Sprintf("%+v", history), "Canary")
		var back credential.History
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, history, back)
		require.True(t, back.Contains(password(2)))
		require.Less(t, len(text), 3*200)
	})

	t.Run("two digests of one password are not the same", func(t *testing.T) {
		one, err := credential.History(nil).Add(password(1), 2, rand.Reader, 1)
		require.NoError(t, err)
		two, err := credential.History(nil).Add(password(1), 2, rand.Reader, 1)
		require.NoError(t, err)
		require.NotEqual(t, one, two)
	})

	t.Run("none is made without a salt", func(t *testing.T) {
		_, err := history.Add(password(1), 2, strings.NewReader("short"), 3)
		require.ErrorContains(t, err, "making the digest of a password")
	})

	t.Run("one that was tampered with takes no time and matches nothing", func(t *testing.T) {
		require.False(t, credential.Digest{Cost: 1 << 40}.Of(password(1)))
		require.False(t, credential.Digest{}.Of(credential.Password{}))
	})
}

func BenchmarkDigest(b *testing.B) {
	for b.Loop() {
		_, err := credential.History(nil).Add(credential.NewPassword("Canary-1"), credential.DigestCost, rand.Reader, 1)
		require.NoError(b, err)
	}
}
