package audit

import (
	"cmp"
	"maps"
	"slices"

	"github.com/gitrota/gitrota/reconcile"
)

// Report is what was proven.
type Report struct {
	Tip           string     `json:"tip"`              // of the branch with the statuses; a later audit can ask for it
	Source        string     `json:"source,omitempty"` // the tip of the branch with the requests, if it is another one
	Commits       int        `json:"commits"`          // that were walked
	StatusCommits int        `json:"statusCommits"`    // that were proven
	Keys          []string   `json:"keys"`             // that signed them
	Since         string     `json:"since,omitempty"`  // what is behind this commit is not proven; empty: all is
	Unproven      int        `json:"unproven"`         // statuses that are from before Since
	Databases     []Database `json:"databases"`        // by name
}

// Database is what was proven of one database.
type Database struct {
	Name      string `json:"name"`      // namespace/name
	Rotations int    `json:"rotations"` // that succeeded, and are proven
	Failed    int    `json:"failed"`    // that did not
	Unproven  int    `json:"unproven"`  // statuses that are from before Since
	Last      *Proof `json:"last"`      // the last rotation that succeeded; nil: none that is proven
}

// summarise fills in what the walk has found about each database.
func (v *verifier) summarise(tip int) error {
	all, err := v.diff(v.StatusPath, entry{}, v.statuses[tip])
	if err != nil {
		return v.named(tip, err)
	}
	databases := map[string]*Database{}
	for _, c := range all {
		if !isStatusFile(v.StatusPath, c.path) {
			continue
		}
		f, err := v.status(c.path, c.after)
		if err != nil {
			return v.named(tip, err)
		}
		key := f.status.Request.DatabaseKey()
		if f.err != nil || f.status.Request.Database == "" {
			key = "" // a request that names none
		}
		d := databases[key]
		if d == nil {
			d = &Database{Name: key}
			databases[key] = d
		}
		switch {
		case f.proof == nil && ran(f.status):
			d.Unproven++
			v.report.Unproven++
		case f.proof == nil:
		case f.status.Phase == reconcile.PhaseFailed:
			d.Failed++
		default:
			d.Rotations++
			if d.Last == nil || f.proof.Ended.After(d.Last.Ended) {
				d.Last = f.proof
			}
		}
	}
	delete(databases, "")
	for _, d := range slices.SortedFunc(maps.Values(databases), func(a, b *Database) int { return cmp.Compare(a.Name, b.Name) }) {
		v.report.Databases = append(v.report.Databases, *d)
	}
	return nil
}
