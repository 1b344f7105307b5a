package guardrails

import (
	"path"
	"slices"
	"strings"

	"github.com/gitrota/gitrota/policies/selection"
)

// Path says which namespaces the files in a folder may be about.
type Path struct {
	Path       string   // of a folder or a file, from the top of the repository, without a slash at its ends; "." is the top
	Namespaces []string // globs; see [selection.IsGlob]
}

// IsPath reports whether a text can be the path of a file or folder in a repository, written in the one way that means
// itself: relative, and without ., .. and empty parts.
func IsPath(text string) bool {
	return text != "" && text == path.Clean(text) && !path.IsAbs(text) && text != ".." && !strings.HasPrefix(text, "../")
}

// File says why a file may not be about a namespace. Of several paths above the file the longest counts, and a file that
// is below none of them may be about nothing. The namespace may be a glob, as in a policy: then the file has to be
// allowed all that it stands for.
func (g Guardrails) File(file, namespace string) *Refusal {
	if len(g.Paths) == 0 {
		return nil
	}
	folder, allowed := g.Folder(file)
	if folder == "" {
		return refuse(ReasonForeignNamespace, "move it into a folder of the guardrails' spec.paths",
			"the file %q is in no folder that the guardrails list, so it may be about no namespace", short(file))
	}
	for _, glob := range allowed {
		if selection.Match(glob, namespace) {
			return nil
		}
	}
	return refuse(ReasonForeignNamespace, "move it into the folder of that namespace, or let whoever runs gitrota add it to the guardrails' spec.paths",
		"files in %q may be about the namespaces %s, and not about %q", folder, strings.Join(allowed, ", "), short(namespace))
}

// Folder returns the path that counts for a file, and the namespaces that the file may be about; "" where none does.
func (g Guardrails) Folder(file string) (folder string, namespaces []string) {
	for _, p := range g.Paths {
		switch {
		case !p.above(file):
		case len(p.Path) > len(folder):
			folder, namespaces = p.Path, p.Namespaces
		case p.Path == folder:
			namespaces = append(namespaces[:len(namespaces):len(namespaces)], p.Namespaces...)
		}
	}
	return folder, namespaces
}

// Namespace reports whether any file at all may be about a namespace.
func (g Guardrails) Namespace(namespace string) bool {
	return len(g.Paths) == 0 || slices.ContainsFunc(g.Paths, func(p Path) bool {
		return slices.ContainsFunc(p.Namespaces, func(glob string) bool { return selection.Match(glob, namespace) })
	})
}

// above reports whether a path is that of the file, or of a folder that the file is in.
func (p Path) above(file string) bool {
	return IsPath(file) && (p.Path == "." || file == p.Path || strings.HasPrefix(file, p.Path+"/"))
}
