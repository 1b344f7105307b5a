package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// unsettled says what is not at rest. When nothing disturbs any more, it has to become empty by itself, and to stay so.
func (f facts) unsettled() (found []string) {
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	known := map[string]bool{}
	for _, s := range f.tip {
		known[s.request] = true
		if !isEnd(s.Phase) {
			waiting, _ := s.condition("Waiting")
			add("unended: %s is %s %s", s.request, s.Phase, waiting.Message)
		}
	}
	for _, name := range f.wanted {
		if !known[name] {
			add("unended: %s has no status", name)
		}
	}
	for _, d := range f.databases {
		keeper, auth := f.secrets[d.keeper()], f.secrets[d.authSecret()]
		if keeper["next.password"] != "" {
			add("staged: the keeper of %s still has a next credential", d.kind)
		}
		if live := keeper["live.password"]; live != "" && (live != auth["password"] || keeper["live.username"] != auth["username"]) {
			add("published: the auth Secret of %s does not hold what the keeper calls live", d.kind)
		}
		for _, s := range f.servers {
			if s.database != d.kind {
				continue
			}
			l := s.logins[auth["username"]]
			if !matches(l.hash, auth["password"]) {
				add("closed: the auth Secret of %s does not open %s", d.kind, s.replica)
			}
			if l.closed != "" {
				add("closed: %s of %s: %s", auth["username"], s.replica, l.closed)
			}
		}
	}
	for _, name := range f.paused {
		add("paused: %s", name)
	}
	for _, name := range f.unready {
		add("not ready: %s", name)
	}
	slices.Sort(found)
	return found
}

// violations says which promises were broken, by an episode that has come to rest.
func (f facts) violations() (found []string) {
	add := func(kind string, all []string) {
		for _, what := range all {
			found = append(found, kind+": "+what)
		}
	}
	found = f.unsettled()
	add("lost", f.lost)
	add("repeated", f.repeated)
	add("rewritten", rewritten(f.lines))
	add("leaked", f.leaks)
	add("panic", f.panics)
	add("failed", f.failures())
	for _, d := range f.databases {
		add("repeated", f.tooManyChanges(d))
		add("logins", f.tooManyLogins(d))
	}
	if f.audit != "" && !f.auditMayFail() {
		add("audit", []string{f.audit})
	}
	slices.Sort(found)
	return found
}

// rotations are those of a database that have done something, by rotation id, as Git or the keeper knows them: what was
// in Git may have been dropped by a force-push.
func (f facts) rotations(d *database) map[string]string {
	phases := map[string]string{}
	var finished []struct{ ID, Phase string }
	if text := f.secrets[d.keeper()]["finished"]; text != "" && json.Unmarshal([]byte(text), &finished) == nil {
		for _, r := range finished {
			phases[r.ID] = r.Phase
		}
	}
	for _, line := range f.lines {
		for _, s := range line.versions {
			if s.database == d.kind && isEnd(s.Phase) {
				phases[s.rotation] = s.Phase
			}
		}
	}
	for id, phase := range phases {
		if phase != successful && phase != failed {
			delete(phases, id)
		}
	}
	if id := f.secrets[d.keeper()]["next.rotation-id"]; id != "" {
		phases[id] = "Progressing"
	}
	return phases
}

// tooManyChanges finds servers whose password was changed more often than rotations account for: once by each, and once
// more by one that was rolled back. Where a server is slow, two agents side by side may both be past its comparison before
// it makes either of their changes, which are to the same password.
func (f facts) tooManyChanges(d *database) (found []string) {
	most := 0
	for _, phase := range f.rotations(d) {
		most++
		if phase == failed {
			most++
		}
	}
	if f.plan.Agents > 1 && !f.plan.Lease && f.plan.has(slowAlter, d.kind) {
		most += len(f.rotations(d))
	}
	for _, s := range f.servers {
		for name, l := range s.logins {
			if s.database == d.kind && l.changes > most {
				found = append(found, fmt.Sprintf("the password of %s on %s was changed %d times, by %d rotations",
					name, s.replica, l.changes, len(f.rotations(d))))
			}
		}
	}
	return found
}

// tooManyLogins finds servers that have refused more logins than a rotation may cost: one each, one more where a run was
// cut off in the middle of asking, and as many again for a second agent. KubeDB's health check logs in with whatever is in
// the auth Secret, so where that was tampered with nothing can be said; elsewhere it may be late by one.
func (f facts) tooManyLogins(d *database) (found []string) {
	if d.kubedb() && (f.plan.has(deleteAuth, d.kind) || f.plan.has(replaceAuth, d.kind)) {
		return nil
	}
	rotations := len(f.rotations(d))
	most := rotations*f.plan.Agents + f.kills
	if d.kubedb() {
		most += rotations
	}
	for _, s := range f.servers {
		for name, l := range s.logins {
			if s.database == d.kind && l.refused > most {
				found = append(found, fmt.Sprintf("%s has refused %d logins of %s, in %d rotations", s.replica, l.refused, name, rotations))
			}
		}
	}
	return found
}

// failures are the requests that have ended badly, although everything was healed in time.
func (f facts) failures() (found []string) {
	for _, s := range f.tip {
		denied, _ := s.condition("Denied")
		switch {
		case s.Phase == successful || s.Phase == "Skipped":
		case s.Phase == "Denied" && denied.Reason == "NothingToRollBack": // another rotation came in between
		case isEnd(s.Phase):
			found = append(found, s.why())
		}
	}
	return found
}

// auditMayFail reports whether the history cannot be proven for a reason that people are to blame for: the commit that
// brought a request was dropped by a force-push, or there is no status at all any more.
func (f facts) auditMayFail() bool {
	forced := slices.ContainsFunc(f.plan.Steps, func(s Step) bool { return s.Do == forcePush })
	return forced && (strings.Contains(f.audit, "SourceMissing") || len(f.tip) == 0)
}
