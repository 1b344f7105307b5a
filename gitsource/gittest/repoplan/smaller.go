package repoplan

import (
	"iter"
	"slices"
)

// Smaller returns plans that have a little less than this one, those with much less first, and that can be served. They
// share nothing that is changed with it or with one another.
func (p *Plan) Smaller() iter.Seq[*Plan] {
	return func(yield func(*Plan) bool) {
		for _, parts := range []iter.Seq[*Plan]{p.fewerStages(), p.fewerCommits(), p.fewerFiles(), p.plainerServer(), p.plainerStages(), p.plainerCommits()} {
			for smaller := range parts {
				if smaller.CanBeServed() && !yield(smaller) {
					return
				}
			}
		}
	}
}

// clone copies a plan as deep as the functions of this file change it.
func (p *Plan) clone() *Plan {
	c := *p
	c.Commits, c.Stages, c.Config = slices.Clone(p.Commits), slices.Clone(p.Stages), slices.Clone(p.Config)
	for i := range c.Commits {
		c.Commits[i].Parents, c.Commits[i].Files = slices.Clone(c.Commits[i].Parents), slices.Clone(c.Commits[i].Files)
	}
	for i := range c.Stages {
		s := &c.Stages[i]
		s.Refs, s.Maintenance, s.Shallow = slices.Clone(s.Refs), slices.Clone(s.Maintenance), slices.Clone(s.Shallow)
	}
	return &c
}

// with returns a copy that was changed.
func (p *Plan) with(change func(*Plan)) *Plan {
	c := p.clone()
	change(c)
	return c
}

// ranges returns what is cut out of n things one after the other: halves, quarters, and so on to single ones.
func ranges(n int) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for size := (n + 1) / 2; size >= 1; size /= 2 {
			for from := 0; from < n; from += size {
				if !yield(from, min(n, from+size)) {
					return
				}
			}
		}
	}
}

// fewerStages pushes in one what was pushed in two.
func (p *Plan) fewerStages() iter.Seq[*Plan] {
	return func(yield func(*Plan) bool) {
		for i := range len(p.Stages) - 1 {
			if !yield(p.with(func(c *Plan) {
				before := c.Stages[i].Tip
				for j := range c.Commits {
					commit := &c.Commits[j]
					if commit.Stage == i+1 && len(commit.Parents) > 0 && commit.Parents[0] == Tip {
						commit.Parents[0] = before
					}
					if commit.Stage > i {
						commit.Stage--
					}
				}
				c.Stages = slices.Delete(c.Stages, i, i+1)
			})) {
				return
			}
		}
	}
}

func (p *Plan) fewerCommits() iter.Seq[*Plan] {
	return func(yield func(*Plan) bool) {
		for from, to := range ranges(len(p.Commits)) {
			if !yield(p.with(func(c *Plan) {
				for range to - from {
					c.drop(from)
				}
			})) {
				return
			}
		}
	}
}

// drop takes a commit out. Its first parent takes its place.
func (p *Plan) drop(at int) {
	gone := p.Commits[at]
	p.Commits = slices.Delete(p.Commits, at, at+1)
	instead, any := 0, false
	if len(gone.Parents) > 0 && gone.Parents[0] != Tip {
		instead, any = gone.Parents[0], true
	} else if len(gone.Parents) > 0 {
		instead, any = p.Stages[gone.Stage-1].Tip, true
	}
	for i := range p.Commits {
		parents := &p.Commits[i].Parents
		if j := slices.Index(*parents, gone.ID); j >= 0 && any && !slices.Contains(*parents, instead) {
			(*parents)[j] = instead
		} else if j >= 0 {
			*parents = slices.Delete(*parents, j, j+1)
		}
	}
	for i := range p.Stages {
		stage := &p.Stages[i]
		if stage.Tip == gone.ID {
			if !any && len(p.Commits) > 0 {
				instead = p.Commits[0].ID
			}
			stage.Tip = instead
		}
		stage.Refs = slices.DeleteFunc(stage.Refs, func(r Ref) bool { return r.Commit == gone.ID })
		stage.Shallow = slices.DeleteFunc(stage.Shallow, func(id int) bool { return id == gone.ID })
	}
}

func (p *Plan) fewerFiles() iter.Seq[*Plan] {
	return func(yield func(*Plan) bool) {
		for i, commit := range p.Commits {
			for from, to := range ranges(len(commit.Files)) {
				if !yield(p.with(func(c *Plan) { c.Commits[i].Files = slices.Delete(c.Commits[i].Files, from, to) })) {
					return
				}
			}
		}
	}
}

func (p *Plan) plainerServer() iter.Seq[*Plan] {
	return func(yield func(*Plan) bool) {
		for _, change := range []func(*Plan){
			func(c *Plan) { c.Server = Server{} },
			func(c *Plan) { c.Server.SSH = false },
			func(c *Plan) { c.Server.Older = false },
			func(c *Plan) { c.Server.TipOnly = false },
			func(c *Plan) { c.Loose = false },
			func(c *Plan) { c.Config = nil },
		} {
			if !yield(p.with(change)) {
				return
			}
		}
		for i := range p.Config {
			if !yield(p.with(func(c *Plan) { c.Config = slices.Delete(c.Config, i, i+1) })) {
				return
			}
		}
	}
}

func (p *Plan) plainerStages() iter.Seq[*Plan] {
	return func(yield func(*Plan) bool) {
		for i, stage := range p.Stages {
			changes := []func(*Stage){
				func(s *Stage) { s.Refs = nil },
				func(s *Stage) { s.Maintenance = nil },
				func(s *Stage) { s.Shallow = nil },
				func(s *Stage) { s.Alternates, s.Partial = false, 0 },
				func(s *Stage) { s.Deleted = false },
			}
			for j := range stage.Refs {
				changes = append(changes, func(s *Stage) { s.Refs = slices.Delete(s.Refs, j, j+1) })
			}
			for j := range stage.Maintenance {
				changes = append(changes, func(s *Stage) { s.Maintenance = slices.Delete(s.Maintenance, j, j+1) })
			}
			for j := range stage.Shallow {
				changes = append(changes, func(s *Stage) { s.Shallow = slices.Delete(s.Shallow, j, j+1) })
			}
			for _, change := range changes {
				if !yield(p.with(func(c *Plan) { change(&c.Stages[i]) })) {
					return
				}
			}
		}
	}
}

// plainerCommits takes the oddities out of commits: parents beside the first, clocks, names, and large files.
func (p *Plan) plainerCommits() iter.Seq[*Plan] {
	return func(yield func(*Plan) bool) {
		plain := func(c *Commit, at int64) {
			c.At, c.Zone, c.Author, c.Encoding, c.Message = at, "+0000", "Dana DBA <dana@example.com>", "", "a change"
		}
		if !yield(p.with(func(c *Plan) {
			for i := range c.Commits {
				plain(&c.Commits[i], 1_600_000_000+int64(i))
			}
		})) {
			return
		}
		for i, commit := range p.Commits {
			changes := []func(*Commit){
				func(c *Commit) { plain(c, c.At) },
				func(c *Commit) { plain(c, 1_600_000_000+int64(i)) },
			}
			for j := 1; j < len(commit.Parents); j++ {
				changes = append(changes, func(c *Commit) { c.Parents = slices.Delete(c.Parents, j, j+1) })
			}
			for j, f := range commit.Files {
				if f.Content.Size > 100 {
					changes = append(changes, func(c *Commit) { c.Files[j].Content.Size /= 2 })
				}
			}
			for _, change := range changes {
				if !yield(p.with(func(c *Plan) { change(&c.Commits[i]) })) {
					return
				}
			}
		}
	}
}
