package pace_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/policies/pace"
)

var production = pace.Policy{Name: "production", Where: "rotations/policies/production.yaml:12"}

func under(limits pace.Limits) pace.Policy {
	policy := production
	policy.Limits = limits
	return policy
}

// request is the request namespace/name for the database of the same name, which came some minutes after midnight.
func request(key string, minutes int, policy pace.Policy) pace.Rotation {
	namespace, _, _ := strings.Cut(key, "/")
	return pace.Rotation{Key: key, Database: key, Namespace: namespace, Came: time.Date(2026, 12, 1, 0, minutes, 0, 0, time.UTC), Policy: policy}
}

func requests(count int, namespace string, policy pace.Policy) []pace.Rotation {
	var list []pace.Rotation
	for n := range count {
		list = append(list, request(fmt.Sprintf("%s/%03d", namespace, n), n, policy))
	}
	return list
}

func begins(verdicts []pace.Verdict) []string {
	var keys []string
	for _, v := range verdicts {
		if v.Begin {
			keys = append(keys, v.Key)
		}
	}
	return keys
}

func TestDecide(t *testing.T) {
	cutOff := func(r pace.Rotation) pace.Rotation {
		r.Resumed = true
		return r
	}
	for _, test := range []struct {
		name  string
		in    pace.Input
		plans []string
	}{{
		name: "nothing waits",
	}, {
		name:  "without limits, all begin, oldest first and then by key",
		in:    pace.Input{Waiting: []pace.Rotation{request("demo/c", 1, pace.Policy{}), request("demo/b", 2, pace.Policy{}), request("demo/a", 2, pace.Policy{})}},
		plans: []string{"demo/c Begins: begins, for it is its turn", "demo/a Begins: begins, for it is its turn", "demo/b Begins: begins, for it is its turn"},
	}, {
		name: "at the overall limit, the youngest waits",
		in:   pace.Input{Max: 2, Waiting: []pace.Rotation{request("demo/b", 2, production), request("demo/a", 1, production)}, Running: requests(1, "other", production)},
		plans: []string{
			"demo/a Begins: begins, for it is its turn",
			"demo/b AtOverallLimit: waits its turn: at most 2 rotations run at once (guardrails)",
		},
	}, {
		name: "a limit of one",
		in:   pace.Input{Max: 1, Waiting: []pace.Rotation{request("demo/a", 1, production)}, Running: requests(1, "other", production)},
		plans: []string{
			"demo/a AtOverallLimit: waits its turn: at most 1 rotation runs at once (guardrails)",
		},
	}, {
		name: "a limit that was lowered below what runs",
		in:   pace.Input{Max: 1, Waiting: []pace.Rotation{request("demo/a", 1, production)}, Running: requests(3, "other", production)},
		plans: []string{
			"demo/a AtOverallLimit: waits its turn: at most 1 rotation runs at once (guardrails)",
		},
	}, {
		name: "at the limit of its policy, one waits, and those under another policy do not",
		in: pace.Input{Max: 10, Running: requests(2, "other", under(pace.Limits{MaxConcurrent: 2})), Waiting: []pace.Rotation{
			request("demo/a", 1, under(pace.Limits{MaxConcurrent: 2})), request("demo/b", 2, pace.Policy{Name: "staging", Where: "rotations/policies/staging.yaml:1"})}},
		plans: []string{
			"demo/b Begins: begins, for it is its turn",
			"demo/a AtPolicyLimit: waits its turn: at most 2 rotations run at once under the policy production (rotations/policies/production.yaml:12)",
		},
	}, {
		name: "at the limit of its namespace, one waits, and other namespaces do not",
		in: pace.Input{Max: 10, Running: requests(1, "demo", under(pace.Limits{MaxPerNamespace: 1})), Waiting: []pace.Rotation{
			request("demo/a", 1, under(pace.Limits{MaxPerNamespace: 1})), request("shop/b", 2, under(pace.Limits{MaxPerNamespace: 1}))}},
		plans: []string{
			"shop/b Begins: begins, for it is its turn",
			"demo/a AtNamespaceLimit: waits its turn: at most 1 rotation runs at once in the namespace demo under the policy production (rotations/policies/production.yaml:12)",
		},
	}, {
		name: "what runs in a namespace under another policy does not count for the policy's limit",
		in: pace.Input{Running: requests(1, "demo", pace.Policy{Name: "staging", Where: "rotations/policies/staging.yaml:1"}), Waiting: []pace.Rotation{
			request("demo/a", 1, under(pace.Limits{MaxPerNamespace: 1}))}},
		plans: []string{"demo/a Begins: begins, for it is its turn"},
	}, {
		name: "of several limits, the widest is named",
		in: pace.Input{Max: 1, Running: requests(1, "demo", under(pace.Limits{MaxConcurrent: 1, MaxPerNamespace: 1})), Waiting: []pace.Rotation{
			request("demo/a", 1, under(pace.Limits{MaxConcurrent: 1, MaxPerNamespace: 1}))}},
		plans: []string{"demo/a AtOverallLimit: waits its turn: at most 1 rotation runs at once (guardrails)"},
	}, {
		name: "what was cut off comes first, goes over each limit, and counts",
		in: pace.Input{Max: 1, Failed: map[string]pace.Failure{"demo/z": {Request: "demo/rotate-1"}}, Waiting: []pace.Rotation{
			request("demo/a", 1, production), cutOff(request("demo/z", 3, under(pace.Limits{AfterFailure: pace.Hold}))), cutOff(request("demo/y", 2, production))}},
		plans: []string{
			"demo/y Resumes: begins again, for it was cut off",
			"demo/z Resumes: begins again, for it was cut off",
			"demo/a AtOverallLimit: waits its turn: at most 1 rotation runs at once (guardrails)",
		},
	}, {
		name: "after a failure, the next rotation of that database is held, and others are not",
		in: pace.Input{Max: 1, Failed: map[string]pace.Failure{"demo/orders": {Request: "demo/rotate-1", Where: "rotations/orders.yaml:3"}}, Waiting: []pace.Rotation{
			request("demo/orders", 1, under(pace.Limits{AfterFailure: pace.Hold})), request("demo/users", 2, under(pace.Limits{AfterFailure: pace.Hold}))}},
		plans: []string{
			"demo/users Begins: begins, for it is its turn",
			`demo/orders HeldAfterFailure: demo/rotate-1 failed, and the policy rotations/policies/production.yaml:12 holds the next rotation of demo/orders until that is acknowledged: annotate its manifest rotations/orders.yaml:3 with gitrota.dev/acknowledged: "why", or remove the manifest`,
		},
	}, {
		name: "the place of what failed may be unknown",
		in: pace.Input{Failed: map[string]pace.Failure{"demo/orders": {Request: "demo/rotate-1"}}, Waiting: []pace.Rotation{
			request("demo/orders", 1, under(pace.Limits{AfterFailure: pace.Hold}))}},
		plans: []string{
			`demo/orders HeldAfterFailure: demo/rotate-1 failed, and the policy rotations/policies/production.yaml:12 holds the next rotation of demo/orders until that is acknowledged: annotate its manifest with gitrota.dev/acknowledged: "why", or remove the manifest`,
		},
	}, {
		name: "after a failure, a policy that continues does not hold",
		in: pace.Input{Failed: map[string]pace.Failure{"demo/orders": {Request: "demo/rotate-1"}}, Waiting: []pace.Rotation{
			request("demo/orders", 1, under(pace.Limits{AfterFailure: pace.Continue}))}},
		plans: []string{"demo/orders Begins: begins, for it is its turn"},
	}} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 {
				var plans []string
				for _, v := range pace.Decide(test.in) {
					plans = append(plans, fmt.Sprintf("%s %s: %s", v.Key, v.Reason, v.Message))
					require.Equal(t, v.Reason == pace.Begins || v.Reason == pace.Resumes, v.Begin)
				}
				require.Equal(t, test.plans, plans)
				slices.Reverse(test.in.Waiting)
			}
		})
	}
}

func TestAStormOfOneNamespaceDoesNotStarveAnother(t *testing.T) {
	storm := requests(500, "storm", production)
	late := []pace.Rotation{request("demo/late", 1000, production), request("demo/later", 1001, production)}
	t.Run("namespaces take turns", func(t *testing.T) {
		verdicts := pace.Decide(pace.Input{Max: 5, Waiting: append(storm, late...)})
		require.Equal(t, []string{"storm/000", "demo/late", "storm/001", "demo/later", "storm/002"}, begins(verdicts))
	})
	t.Run("what runs already counts for whose turn it is", func(t *testing.T) {
		verdicts := pace.Decide(pace.Input{Max: 5, Running: storm[:4], Waiting: append(storm[4:], late...)})
		require.Equal(t, []string{"demo/late"}, begins(verdicts))
	})
	t.Run("where a limit stops one, those behind it go ahead", func(t *testing.T) {
		narrow := requests(3, "storm", under(pace.Limits{MaxConcurrent: 1}))
		verdicts := pace.Decide(pace.Input{Max: 5, Waiting: append(narrow, storm[100:102]...)})
		require.Equal(t, []string{"storm/000", "storm/100", "storm/101"}, begins(verdicts))
	})
}

func TestAStormSaysSoAndDoesNotCount(t *testing.T) {
	storm := requests(500, "storm", production)
	message := func(in pace.Input) string {
		verdicts := pace.Decide(in)
		return verdicts[len(verdicts)-1].Message
	}
	t.Run("all the time that it lasts, the message is the same", func(t *testing.T) {
		for ended := 0; len(storm)-ended-10 > 100; ended += 7 {
			require.Equal(t, "waits its turn in a storm of more than 100 rotations: at most 10 rotations run at once (guardrails)",
				message(pace.Input{Max: 10, Waiting: storm[ended:]}))
		}
	})
	t.Run("what is left when it is over just waits", func(t *testing.T) {
		require.Equal(t, "waits its turn: at most 10 rotations run at once (guardrails)", message(pace.Input{Max: 10, Waiting: storm[:110]}))
	})
	t.Run("one under a policy is one as well", func(t *testing.T) {
		require.Equal(t, "waits its turn in a storm of more than 20 rotations: at most 2 rotations run at once under the policy production (rotations/policies/production.yaml:12)",
			message(pace.Input{Max: 10, Waiting: requests(30, "storm", under(pace.Limits{MaxConcurrent: 2}))}))
	})
	t.Run("what is held does not make one", func(t *testing.T) {
		in := pace.Input{Max: 1, Waiting: requests(30, "storm", under(pace.Limits{AfterFailure: pace.Hold})), Failed: map[string]pace.Failure{}}
		for _, r := range in.Waiting[:25] {
			in.Failed[r.Database] = pace.Failure{Request: r.Key}
		}
		require.Equal(t, "waits its turn: at most 1 rotation runs at once (guardrails)", message(in))
	})
}

func BenchmarkDecide(b *testing.B) {
	in := pace.Input{Max: 10, Failed: map[string]pace.Failure{}}
	policies := []pace.Policy{under(pace.Limits{MaxConcurrent: 5, MaxPerNamespace: 1}), {Name: "staging", Where: "b.yaml:1"}}
	for n := range 10_000 {
		in.Waiting = append(in.Waiting, request(fmt.Sprintf("team-%d/orders-%d", n%100, n), n/7, policies[n%2]))
	}
	b.ReportAllocs()
	for b.Loop() {
		pace.Decide(in)
	}
}
