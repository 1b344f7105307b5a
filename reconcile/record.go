package reconcile

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource"
	"github.com/gitrota/gitrota/gitsource/manifest"
)

// The names of the files below the status path that are about no single request. No Kubernetes namespace is called
// like them, for both have a dot.
const (
	overviewFile = "README.md"
	problemsFile = "problems.yaml"
)

// commit builds the commit that brings statuses into Git, on top of what the snapshot holds. It returns nil if Git has
// them all. What has ended in Git stays as it ended; see upheld. That depends on the snapshot that the commit is made on,
// and on nothing that was read before.
func commit(snapshot *gitsource.Snapshot, statusPath string, statuses []Status, all map[string]Status, said reports) (*gitsource.Change, error) {
	c := &gitsource.Change{Files: map[string][]byte{}}
	var written []Status
	for _, s := range statuses {
		file := StatusPath(statusPath, s.Request)
		old, exists := snapshot.Get(file)
		told, err := ParseStatus(old)
		if err != nil {
			told = Status{} // there is none, or somebody has made it unreadable
		}
		s = upheld(told, s)
		escrow := missingEscrow(snapshot, statusPath, s)
		content, err := marshalStatus(s)
		if err != nil {
			return nil, err
		}
		s.Escrow = nil // it has a file of its own
		inGit := exists && (string(old) == string(content) || told.isEnd() && equal(told, s))
		if !inGit {
			c.Files[file] = content
		}
		if escrow != nil {
			c.Files[EscrowPath(statusPath, s.Request)] = escrow
		}
		if !inGit || escrow != nil {
			written = append(written, s)
		}
	}
	replace := func(name string, content []byte, err error) (bool, error) {
		file := path.Join(statusPath, name)
		old, exists := snapshot.Get(file)
		if err != nil || exists == (content != nil) && string(old) == string(content) {
			return false, err
		}
		c.Files[file] = content
		return true, nil
	}
	content, err := marshalProblems(said.problems)
	problemsChanged, err := replace(problemsFile, content, err)
	if err != nil {
		return nil, err
	}
	content, err = marshalPolicies(said.policies)
	policiesChanged, err := replace(policiesFile, content, err)
	if err != nil {
		return nil, err
	}
	if len(c.Files) == 0 {
		return nil, nil
	}
	overviewPath := path.Join(statusPath, overviewFile)
	if overview := marshalOverview(all, said.planned); string(overview) != "" {
		if old, _ := snapshot.Get(overviewPath); string(old) != string(overview) {
			c.Files[overviewPath] = overview
		}
	}
	describe(c, written, said, problemsChanged, policiesChanged)
	return c, nil
}

// reports are what is to be said in the status path about no single request.
type reports struct {
	problems []manifest.Problem
	policies []policy
	planned  []Planned // for the overview, which is brought up to date when something else is written
}

// describe writes the commit's message: a subject for people who read git log --oneline, a sentence for each request,
// and trailers for tools.
func describe(c *gitsource.Change, written []Status, said reports, problemsChanged, policiesChanged bool) {
	switch problems := len(said.problems); {
	case len(written) > 1:
		c.Subject = summary(written)
	case len(written) == 1:
		c.Subject = fmt.Sprintf("rotate %s: %s", written[0].subject(), written[0].Phase)
	case !problemsChanged:
		c.Subject = "record the policies in force"
	case problems == 0:
		c.Subject = "report that the manifests have no problems left"
	case problems == 1:
		c.Subject = "report 1 problem in the manifests"
	default:
		c.Subject = fmt.Sprintf("report %d problems in the manifests", problems)
	}
	var body []string
	for _, s := range written {
		body = append(body, s.sentence())
		c.Trailers = append(c.Trailers,
			gitsource.Trailer{Key: "Rotation-Request", Value: s.Request.Key()},
			gitsource.Trailer{Key: "Rotation-Id", Value: s.Request.ID},
			gitsource.Trailer{Key: "Rotation-Phase", Value: string(s.Phase)},
			gitsource.Trailer{Key: "Rotation-Source", Value: s.Request.Source.Commit},
			gitsource.Trailer{Key: "Rotation-Merge", Value: s.Request.Source.Merge},
			gitsource.Trailer{Key: "Rotation-Signer", Value: s.Request.Source.Signer},
		)
		for _, by := range s.Request.ApprovedBy {
			c.Trailers = append(c.Trailers, gitsource.Trailer{Key: "Approved-By", Value: by})
		}
	}
	if problemsChanged {
		for _, p := range said.problems {
			body = append(body, p.String())
		}
	}
	if policiesChanged {
		for _, p := range said.policies {
			body = append(body, p.sentence())
		}
	}
	c.Body = strings.Join(body, "\n\n")
}

// summary counts the requests of a commit by their phases.
func summary(written []Status) string {
	count := map[Phase]int{}
	for _, s := range written {
		count[s.Phase]++
	}
	var parts []string
	for _, phase := range []Phase{PhaseSuccessful, PhaseFailed, PhaseDenied, PhaseSkipped, PhaseProgressing, PhaseApproved, PhaseWaitingForApproval, PhasePending} {
		if count[phase] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[phase], phase))
		}
	}
	return fmt.Sprintf("rotate %d requests: %s", len(written), strings.Join(parts, ", "))
}

// skipCI keeps GitHub, GitLab, Gitea, Bitbucket and Azure DevOps from starting a pipeline for a commit.
func skipCI(c *gitsource.Change) { c.Body = strings.TrimSpace(c.Body + "\n\n[skip ci]") }

// subject names what a status is about: the database or, where the request names none, the request.
func (s Status) subject() string {
	if s.Request.Database == "" {
		return s.Request.Key()
	}
	return s.Request.DatabaseKey()
}

// sentence says in one or two sentences how a request stands.
func (s Status) sentence() string {
	text := fmt.Sprintf("Request %s is %s.", s.Request.Key(), s.Phase)
	if len(s.Conditions) == 0 {
		return text
	}
	last := s.Conditions[len(s.Conditions)-1]
	if last.Type == TypeOverwritten {
		return fmt.Sprintf("After request %s: %s.", s.Request.Key(), strings.TrimSuffix(last.Message, "."))
	}
	if s.Phase == PhaseSuccessful {
		took := "less than a second" // conditions carry whole seconds
		if d := s.ended().Sub(s.Conditions[0].LastTransitionTime); d > 0 {
			took = d.String()
		}
		return fmt.Sprintf("Request %s has rotated the credential of %s in %s.", s.Request.Key(), s.Request.DatabaseKey(), took)
	}
	return text + " " + strings.TrimSuffix(last.Message, ".") + "."
}

// marshalProblems writes what is wrong with manifests that belong to no readable request; nil if nothing is.
func marshalProblems(problems []manifest.Problem) ([]byte, error) {
	if len(problems) == 0 {
		return nil, nil
	}
	type entry struct {
		Where   string `json:"where"`
		Phase   Phase  `json:"phase"`
		Reason  string `json:"reason"`
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}
	list := struct {
		APIVersion string  `json:"apiVersion"`
		Kind       string  `json:"kind"`
		Problems   []entry `json:"problems"`
	}{"gitrota.dev/v1alpha1", "ManifestProblems", nil}
	for _, p := range problems {
		list.Problems = append(list.Problems, entry{p.Where(), PhaseDenied, p.Reason, p.Message, p.Hint})
	}
	body, err := yaml.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("writing the problems: %w", err)
	}
	return append([]byte("# Written by gitrota: manifests that cannot be served. The file goes when they are mended.\n"), body...), nil
}

// marshalOverview writes a table of all databases, ordered by name. It holds no age, which would change by itself.
func marshalOverview(all map[string]Status, planned []Planned) []byte {
	due := map[string]string{}
	for _, p := range planned {
		if !p.Drawn.IsZero() {
			due[p.Database.Namespace+"/"+p.Database.Name] = p.Drawn.UTC().Format(time.RFC3339)
		}
	}
	type row struct {
		database string
		rotated  time.Time
		latest   Status
		at       time.Time
	}
	rows := map[string]*row{}
	for _, s := range all {
		if s.Request.Database == "" || len(s.Conditions) == 0 {
			continue
		}
		r := rows[s.Request.DatabaseKey()]
		if r == nil {
			r = &row{database: s.Request.DatabaseKey()}
			rows[r.database] = r
		}
		at := s.ended()
		if at.IsZero() {
			at = s.Conditions[len(s.Conditions)-1].LastTransitionTime
		}
		if s.Phase == PhaseSuccessful && at.After(r.rotated) {
			r.rotated = at
		}
		if s.Phase != PhaseSkipped && (at.After(r.at) || at.Equal(r.at) && s.Request.Name > r.latest.Request.Name) {
			r.at, r.latest = at, s
		}
	}
	ordered := make([]*row, 0, len(rows))
	for _, r := range rows {
		if r.latest.Phase != "" {
			ordered = append(ordered, r)
		}
	}
	slices.SortFunc(ordered, func(a, b *row) int { return cmp.Compare(a.database, b.database) })

	var b strings.Builder
	b.WriteString("# Rotations\n\nWritten by gitrota. Each database with its last successful rotation, its latest request, and when its schedule asked for the next one.\n\n")
	b.WriteString("| Database | Last rotation | Next due | Latest request | Phase |\n|---|---|---|---|---|\n")
	for _, r := range ordered {
		rotated := "never"
		if !r.rotated.IsZero() {
			rotated = r.rotated.UTC().Format(time.RFC3339)
		}
		next := cmp.Or(due[r.database], "-")
		fmt.Fprintf(&b, "| %s | %s | %s | [%s](%s) | %s |\n", r.database, rotated, next, r.latest.Request.Name, path.Join(r.latest.Request.Namespace, r.latest.Request.Name+".yaml"), r.latest.Phase)
	}
	return []byte(b.String())
}
