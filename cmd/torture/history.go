package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// status is one version of a status file, as somebody reads it who knows nothing of gitrota but its manual.
type status struct {
	Commit   string // that brought it
	Path     string
	request  string
	rotation string
	database string
	removed  bool // the commit has removed the file

	Phase      string
	Conditions []condition
}

type condition struct{ Type, Status, Reason, Message, LastTransitionTime string }

const (
	successful = "Successful"
	failed     = "Failed"
)

// isEnd reports whether a phase is the last one of a request.
func isEnd(phase string) bool {
	return slices.Contains([]string{successful, failed, "Denied", "Skipped"}, phase)
}

// ended is when it ended; "" while it has not.
func (s status) ended() string {
	for _, c := range s.Conditions {
		if c.Type == s.Phase && isEnd(s.Phase) {
			return c.LastTransitionTime
		}
	}
	return ""
}

// why is how it ended, in a line.
func (s status) why() string {
	for _, c := range s.Conditions {
		if c.Type == s.Phase {
			return fmt.Sprintf("%s %s (%s): %s", s.request, s.Phase, c.Reason, c.Message)
		}
	}
	return s.request + " " + s.Phase
}

func (s status) condition(kind string) (condition, bool) {
	i := slices.IndexFunc(s.Conditions, func(c condition) bool { return c.Type == kind })
	if i < 0 {
		return condition{}, false
	}
	return s.Conditions[i], true
}

// readStatus reads a status file.
func readStatus(commit, file, text string) (status, error) {
	var content struct {
		Metadata struct {
			Name        string
			Annotations map[string]string
		}
		Spec   struct{ DatabaseRef struct{ Name string } }
		Status struct {
			Phase      string
			Conditions []condition
		}
	}
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		return status{}, fmt.Errorf("%s at %s: %w", file, commit, err)
	}
	return status{
		Commit: commit, Path: file, request: content.Metadata.Name, rotation: content.Metadata.Annotations["gitrota.dev/rotation-id"],
		database: content.Spec.DatabaseRef.Name, Phase: content.Status.Phase, Conditions: content.Status.Conditions,
	}, nil
}

// isStatus reports whether a path is that of a request's status.
func isStatus(file string) bool {
	return strings.Count(file, "/") == 2 && strings.HasPrefix(file, "rotation-status/") && path.Ext(file) == ".yaml"
}

// statuses are those at the tip of the branch.
func (e *episode) statuses() (all []status) {
	files, err := e.gitLines("ls-tree", "-r", "--name-only", e.repo.Branch, "rotation-status")
	if err != nil {
		return nil
	}
	for _, file := range files {
		if !isStatus(file) {
			continue
		}
		text, err := e.gitOutput("cat-file", "blob", e.repo.Branch+":"+file)
		if err != nil {
			continue
		}
		if s, err := readStatus("", file, text); err == nil {
			all = append(all, s)
		}
	}
	return all
}

// A lineage is all versions of all statuses up to one tip, the oldest first.
type lineage struct {
	tip      string
	versions []status
}

// lineages are those of the branch as it is, and of each tip that a force-push has dropped.
func (e *episode) lineages() ([]lineage, error) {
	tips, err := e.gitLines("log", "--walk-reflogs", "--format=%H", e.repo.Branch)
	if err != nil {
		return nil, err
	}
	var all []lineage
	for i, tip := range tips { // the newest first
		if i > 0 && e.isAncestor(tip, tips[i-1]) {
			continue
		}
		l, err := e.lineage(tip)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	slices.Reverse(all)
	return all, nil
}

func (e *episode) isAncestor(a, b string) bool {
	_, err := e.gitOutput("merge-base", "--is-ancestor", a, b)
	return err == nil
}

// lineage walks to a tip with git alone.
func (e *episode) lineage(tip string) (lineage, error) {
	l := lineage{tip: tip}
	lines, err := e.gitLines("log", "--reverse", "--topo-order", "--first-parent", "-m", "--raw", "--no-abbrev", "--no-renames",
		"--format=commit %H", tip, "--", "rotation-status")
	if err != nil {
		return l, err
	}
	commit := ""
	for _, line := range lines {
		if hash, ok := strings.CutPrefix(line, "commit "); ok {
			commit = hash
			continue
		}
		// :100644 100644 <before> <after> M<tab>path
		meta, file, ok := strings.Cut(line, "\t")
		fields := strings.Fields(meta)
		if !ok || len(fields) != 5 || !isStatus(file) {
			continue
		}
		if fields[4] == "D" {
			l.versions = append(l.versions, status{Commit: commit, Path: file, removed: true})
			continue
		}
		text, err := e.gitOutput("cat-file", "blob", fields[3])
		if err != nil {
			return l, err
		}
		s, err := readStatus(commit, file, text)
		if err != nil {
			return l, err
		}
		l.versions = append(l.versions, s)
	}
	return l, nil
}

// gitOutput runs git on the repository as the server keeps it.
func (e *episode) gitOutput(args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"--git-dir", e.repo.Folder()}, args...)...)
	cmd.Env = []string{"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return string(out), nil
}

func (e *episode) gitLines(args ...string) ([]string, error) {
	out, err := e.gitOutput(args...)
	if err != nil || out == "" {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n"), nil
}

// afterTheEnd are the conditions that may come or change when a request has ended: what became of its manifest and of
// its Secret.
var afterTheEnd = []string{"RequestChanged", "AuthSecretOverwritten"}

// rewritten finds ended statuses that were changed afterwards: in one line of history anything of them, and between
// those that a force-push has parted the phase.
func rewritten(lines []lineage) (found []string) {
	phases := map[string]status{} // of a rotation, over all lines
	for _, line := range lines {
		last := map[string]status{}
		for _, s := range line.versions {
			before := last[s.Path]
			last[s.Path] = s
			if isEnd(before.Phase) {
				if what := changedAfterEnd(before, s); what != "" {
					found = append(found, fmt.Sprintf("%s: %s had ended as %s at %.8s, and %.8s %s",
						s.Path, before.request, before.Phase, before.Commit, s.Commit, what))
				}
			}
			// What was denied or skipped has left no trace outside of Git, and is judged anew where Git has forgotten it.
			if s.removed || s.Phase != successful && s.Phase != failed {
				continue
			}
			key := s.request + " " + s.rotation
			if other, known := phases[key]; known && other.Phase != s.Phase {
				found = append(found, fmt.Sprintf("%s: %s was %s at %.8s and is %s at %.8s, after a force-push",
					s.Path, s.request, other.Phase, other.Commit, s.Phase, s.Commit))
			}
			phases[key] = s
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func changedAfterEnd(before, after status) string {
	switch {
	case after.removed:
		return "removes it"
	case after.Phase != before.Phase:
		return "makes it " + after.Phase
	case after.rotation != before.rotation:
		return "gives it the rotation id " + after.rotation
	}
	for _, c := range before.Conditions {
		if now, is := after.condition(c.Type); !slices.Contains(afterTheEnd, c.Type) && (!is || now != c) {
			return fmt.Sprintf("changes its condition %s: %+v, now %+v", c.Type, c, now)
		}
	}
	for _, c := range after.Conditions {
		if _, was := before.condition(c.Type); !was && !slices.Contains(afterTheEnd, c.Type) {
			return fmt.Sprintf("adds a condition: %+v", c)
		}
	}
	return ""
}
