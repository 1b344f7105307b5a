package repoplan

import "strings"

// storage draws how the objects are kept after a push.
func (d *drawing) storage(stage *Stage) {
	if d.partial && len(d.plan.Stages) == 0 {
		stage.Partial = d.o.MaxSize + 1
	}
	if stage.Deleted || d.partial {
		return // nothing might be left to go on with; and git cannot repack what it has in parts
	}
	do := func(percent int, lines ...string) {
		if d.chance(percent) {
			stage.Maintenance = append(stage.Maintenance, lines...)
		}
	}
	stage.Alternates = d.chance(8)
	do(15, "pack-refs --all")
	switch d.rng.IntN(10) {
	case 0:
		do(100, "repack -a -d -f -q --depth=250 --window=100")
	case 1:
		do(100, "repack -a -d -q --depth=2 --window=3")
	case 2:
		if !stage.Alternates {
			do(100, "repack -a -d -q --write-bitmap-index")
		}
	case 3:
		do(100, "repack -d -q")
		do(80, "multi-pack-index write")
	case 4:
		do(100, "gc --quiet --prune=now")
	case 5:
		do(100, "repack -a -d -q --window=0")
	}
	do(25, "commit-graph write --reachable --changed-paths")
	if len(d.plan.Stages) == 0 && d.chance(8) { // a server that never had more
		for range 1 + d.rng.IntN(2) {
			stage.Shallow = append(stage.Shallow, pick(d, d.there))
		}
	}
}

func prunes(maintenance string) bool {
	return strings.HasPrefix(maintenance, "gc ") || strings.HasPrefix(maintenance, "repack -a ")
}

// reachable returns the commits that are left when the server drops what nothing leads to.
func (d *drawing) reachable() map[int]bool {
	cut := map[int]bool{}
	for _, stage := range d.plan.Stages {
		for _, id := range stage.Shallow {
			cut[id] = true
		}
	}
	next := []int{d.plan.Stages[len(d.plan.Stages)-1].Tip}
	for _, stage := range d.plan.Stages {
		for _, ref := range stage.Refs {
			next = append(next, ref.Commit)
		}
	}
	seen := map[int]bool{}
	for len(next) > 0 {
		id := next[len(next)-1]
		next = next[:len(next)-1]
		if seen[id] {
			continue
		}
		seen[id] = true
		c := d.plan.commit(id)
		for _, parent := range c.Parents {
			if parent == Tip {
				parent = d.plan.Stages[c.Stage-1].Tip
			}
			if !cut[id] {
				next = append(next, parent)
			}
		}
	}
	return seen
}

// serve draws what the server does.
func (d *drawing) serve() {
	d.plan.Loose = d.chance(40)
	d.plan.Server = Server{SSH: d.chance(35), Older: d.chance(20) && !d.partial}
	set := func(percent int, settings ...string) {
		if d.chance(percent) {
			d.plan.Config = append(d.plan.Config, settings...)
		}
	}
	kind := d.rng.IntN(10)
	if d.partial {
		kind = 9 // or it could serve nobody
	}
	switch kind {
	case 0, 1:
		set(100, "uploadpack.allowFilter=false")
	case 2:
		set(100, "uploadpack.allowFilter=true", "uploadpackfilter.allow=false", "uploadpackfilter.blob:none.allow=true")
	case 3:
		set(100, "uploadpack.allowFilter=true", "uploadpackfilter.tree.allow=false")
	case 4:
		set(100, "uploadpack.allowFilter=true", "uploadpackfilter.tree.allow=true", "uploadpackfilter.tree.maxTreeDepth=0")
	default:
		set(100, "uploadpack.allowFilter=true")
	}
	set(30, "uploadpack.allowAnySHA1InWant=true")
	set(15, "uploadpack.allowReachableSHA1InWant=true")
	set(15, "uploadpack.allowTipSHA1InWant=true")
	set(10, "transfer.hideRefs=refs/pull")
	set(20, "pack.depth=250", "pack.window=50")
	set(10, "pack.compression=0")
	set(10, "pack.useSparse=false")
	set(10, "pack.allowPackReuse=false")
	set(10, "repack.useDeltaBaseOffset=false")
	set(20, "receive.unpackLimit=1")
	set(10, "core.bigFileThreshold=1k")
	set(50, "receive.fsckObjects=true")
	d.plan.Server.TipOnly = !d.plan.Server.SSH && !d.partial && d.chance(4)
}
