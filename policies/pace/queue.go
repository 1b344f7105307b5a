package pace

import (
	"cmp"
	"container/heap"
	"fmt"
)

// group is rotations that a limit bounds together.
type group struct {
	limit            int // 0: none
	running, waiting int
	reason           Reason
	where            string // the limit is from, for people
	text             string // of message, once it was asked for
}

func (g *group) hasRoom() bool { return g.limit == 0 || g.running < g.limit }

// message says what a rotation waits for that has no room in the group. How many wait is not in it, for that changes.
func (g *group) message() string {
	if g.text == "" {
		run := "rotations run"
		if g.limit == 1 {
			run = "rotation runs"
		}
		g.text = fmt.Sprintf("waits its turn: at most %d %s at once%s", g.limit, run, g.where)
		if storm := g.limit * stormFactor; g.waiting > storm {
			g.text = fmt.Sprintf("waits its turn in a storm of more than %d rotations: at most %d %s at once%s", storm, g.limit, run, g.where)
		}
	}
	return g.text
}

// queue is the rotations that wait, by whose turn it is.
type queue struct {
	overall *group
	resumed []*waiting // have begun again
	others  []*waiting // oldest first
	turns   turns
}

func newQueue(in Input) *queue {
	q := &queue{overall: &group{limit: in.Max, reason: AtOverallLimit, where: " (guardrails)"}}
	groups := newGroups(q.overall)
	for i := range in.Running {
		w := waiting{groups: groups.of(&in.Running[i])}
		w.begin()
	}
	list := make([]waiting, len(in.Waiting))
	for i := range in.Waiting {
		r := &in.Waiting[i]
		_, failed := in.Failed[r.Database]
		list[i] = waiting{Rotation: r, groups: groups.of(r), held: failed && r.Policy.Limits.AfterFailure == Hold}
	}
	lines := map[string]*line{}
	for _, w := range sorted(list) {
		if w.Resumed {
			w.begin()
			q.resumed = append(q.resumed, w)
			continue
		}
		q.others = append(q.others, w)
		if w.held {
			continue
		}
		l := lines[w.Namespace]
		if l == nil {
			l = &line{namespace: w.groups[len(w.groups)-1]}
			lines[w.Namespace] = l
			q.turns = append(q.turns, l)
		}
		l.waiting = append(l.waiting, w)
	}
	heap.Init(&q.turns)
	return q
}

// groups finds the groups of a rotation.
type groups struct {
	overall    *group
	policies   map[Policy]*group
	shares     map[share]*group
	namespaces map[string]*group
}

// share is the rotations of a namespace that are under one policy.
type share struct {
	policy    Policy
	namespace string
}

func newGroups(overall *group) *groups {
	return &groups{overall: overall, policies: map[Policy]*group{}, shares: map[share]*group{}, namespaces: map[string]*group{}}
}

func (g *groups) of(r *Rotation) [4]*group {
	policy := g.policies[r.Policy]
	if policy == nil {
		policy = &group{limit: r.Policy.Limits.MaxConcurrent, reason: AtPolicyLimit, where: fmt.Sprintf(" under the policy %s (%s)", r.Policy.Name, r.Policy.Where)}
		g.policies[r.Policy] = policy
	}
	s := g.shares[share{r.Policy, r.Namespace}]
	if s == nil {
		s = &group{limit: r.Policy.Limits.MaxPerNamespace, reason: AtNamespaceLimit, where: fmt.Sprintf(" in the namespace %s under the policy %s (%s)", r.Namespace, r.Policy.Name, r.Policy.Where)}
		g.shares[share{r.Policy, r.Namespace}] = s
	}
	namespace := g.namespaces[r.Namespace]
	if namespace == nil {
		namespace = &group{} // has no limit, and is there to be counted
		g.namespaces[r.Namespace] = namespace
	}
	return [4]*group{g.overall, policy, s, namespace}
}

// line is the rotations of a namespace that wait, oldest first.
type line struct {
	namespace *group
	waiting   []*waiting
}

// turns is a heap of the namespaces; the one whose turn it is comes first.
type turns []*line

func (t turns) Len() int { return len(t) }
func (t turns) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(t[i].namespace.running, t[j].namespace.running), older(t[i].waiting[0], t[j].waiting[0])) < 0
}
func (t turns) Swap(i, j int) { t[i], t[j] = t[j], t[i] }
func (t *turns) Push(l any)   { *t = append(*t, l.(*line)) }
func (t *turns) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}
