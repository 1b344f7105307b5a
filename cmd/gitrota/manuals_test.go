package main

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/gitrota/gitrota/gitsource/manifest"
)

// maxReadme keeps the first text that a stranger reads short. What is longer has its place beside what it describes.
const maxReadme = 12_000 // bytes

func TestTheReadmeIsShortAndManualsBeginWithTheirContents(t *testing.T) {
	for _, m := range manuals(t) {
		if m.file == "README.md" {
			require.LessOrEqual(t, len(m.text), maxReadme, "move what is about one part to the README.md of its folder")
		}
		if path.Base(m.file) != "README.md" || strings.HasPrefix(m.file, "examples/") {
			continue
		}
		var links []string
		for _, target := range m.links() {
			if name, own := strings.CutPrefix(target, "#"); own {
				links = append(links, name)
			}
		}
		for _, s := range m.sections {
			if s.level == 2 {
				require.Contains(t, links, anchor(s.title), "%s lists its sections at its beginning", m.file)
			}
		}
	}
}

func TestLinksInManualsLeadSomewhere(t *testing.T) {
	known := map[string]manual{}
	for _, m := range manuals(t) {
		known[m.file] = m
	}
	for _, m := range known {
		for _, target := range m.links() {
			to, err := url.Parse(target)
			require.NoError(t, err, "%s", m.file)
			if to.IsAbs() {
				continue
			}
			file := m.file
			if to.Path != "" {
				file = path.Join(m.folder(), to.Path)
			}
			_, err = os.Stat(filepath.Join(topLevel, filepath.FromSlash(file)))
			require.NoError(t, err, "%s links to %s", m.file, target)
			if to.Fragment != "" {
				require.Contains(t, known, file, "%s links to %s, which is no manual", m.file, target)
				require.True(t, known[file].anchors()[to.Fragment], "%s links to %s, and there is no such heading", m.file, target)
			}
		}
	}
}

func TestManifestsInManualsAreValid(t *testing.T) {
	checked := 0
	for _, m := range manuals(t) {
		for _, s := range m.sections {
			for _, b := range s.blocks {
				require.Contains(t, []string{"sh", "console", "yaml", "env", "text", "go", "diff"}, b.kind, "%s:%d: what is between these fences?", m.file, b.line)
				if b.kind == "yaml" && m.checkManifest(t, b) {
					checked++
				}
				if b.kind == "env" {
					m.checkSettings(t, b)
				}
			}
		}
	}
	require.Greater(t, checked, 3, "there are some")
}

// documentLine is what a manifest of gitrota's, or a request, says of itself.
var documentLine = regexp.MustCompile(`(?m)^apiVersion: (gitrota\.dev|ops\.kubedb\.com)/`)

// checkManifest has gitrota read a block with one of its documents, and reports whether it is one. All others are to be
// YAML.
func (m manual) checkManifest(t *testing.T, b block) bool {
	t.Helper()
	documents := documentLine.FindAllString(b.text, -1)
	switch {
	case len(documents) == 0:
		require.NoError(t, yaml.Unmarshal([]byte(b.text), new(any)), "%s:%d", m.file, b.line)
		isPart := !strings.Contains("\n"+b.text, "\nspec:") || strings.Contains("\n"+b.text, "\napiVersion:")
		require.True(t, isPart, "%s:%d: begin it with apiVersion and kind, so that it can be checked", m.file, b.line)
		return false
	case strings.Contains(b.text, "\nkind: "+manifest.KindGuardrails+"\n"):
		_, problems := manifest.ParseGuardrails(m.file, []byte(b.text))
		require.Empty(t, problems, "%s:%d", m.file, b.line)
		return true
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "manual.yaml"), b.text)
	got := gitrota(t, dir, nil, "validate", "manual.yaml")
	require.Zero(t, got.code, "%s:%d: %s", m.file, b.line, got.stdout)
	set := manifest.Parse(map[string][]byte{"manual.yaml": []byte(b.text)})
	require.Equal(t, len(documents), len(set.Requests)+len(set.Servers)+len(set.Policies), "%s:%d: all were read", m.file, b.line)
	return true
}

// checkSettings looks whether the agent has the settings of a block.
func (m manual) checkSettings(t *testing.T, b block) {
	t.Helper()
	var known []string
	newAgent().Flags().VisitAll(func(f *pflag.Flag) { known = append(known, environmentName(f.Name)) })
	for line := range strings.Lines(b.text) {
		name, _, isSetting := strings.Cut(line, "=")
		require.True(t, isSetting && slices.Contains(known, name), "%s:%d: %s", m.file, b.line, line)
	}
}
