package main

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestASeedReplaysAPlan(t *testing.T) {
	for seed := range uint64(50) {
		require.Equal(t, newPlan(seed), newPlan(seed))
		require.Equal(t, newPlan(seed).String(), newPlan(seed).String())
	}
	require.NotEqual(t, newPlan(1).Steps, newPlan(2).Steps)
}

func TestEverythingHappensSooner(t *testing.T) {
	done, databases, moment := map[action]int{}, map[string]int{}, map[string]int{}
	for seed := range uint64(300) {
		p := newPlan(seed)
		require.True(t, slices.IsSortedFunc(p.Steps, func(a, b Step) int { return int(a.At - b.At) }))
		for _, d := range p.Databases {
			databases[d]++
			require.True(t, p.has(request, d), "somebody asks for a rotation of each")
		}
		for _, s := range p.Steps {
			done[s.Do]++
			moment[s.When]++
			require.Less(t, s.Agent, p.Agents)
			if s.Database != "" {
				require.Contains(t, p.Databases, s.Database)
				require.True(t, p.possible(s.Do, s.Database), "%s", s)
			}
		}
	}
	for _, do := range []action{request, supply, goBack, reapply, move, revert, forcePush, killAgent, stopAgent, killAPI, stopAPI,
		killEtcd, stopEtcd, gitAway, gitLoses, deletePod, serverAway, dropAnswer, slowAlter, deleteAuth, replaceAuth} {
		require.Greater(t, done[do], 3, do)
	}
	for _, kind := range kinds {
		require.Greater(t, databases[kind], 30, kind)
	}
	for _, text := range moments {
		require.Greater(t, moment[text], 3, text)
	}
}
