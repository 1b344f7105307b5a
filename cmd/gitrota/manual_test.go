package main

import (
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// manual is a text in Markdown of this repository. The manual of gitrota is README.md at the top and, beside what they
// describe, those of the folders.
type manual struct {
	file     string // from the top of the repository
	text     string
	sections []*section
}

// section is what stands below a heading; of the first one, before any.
type section struct {
	title  string
	level  int // 1 for #, 2 for ##
	blocks []block
}

// block is what stands between two fences, and what the first of them says about it:
//
//	sh       commands, to be run with bash in one go
//	console  commands behind "$ ", and what each of them prints, in which ... stands for anything
//	yaml     manifests, or a part of one
//	env      settings of the agent
//	text     to be read, as are go and diff
type block struct {
	kind string
	text string
	line int
}

// manuals are all that there are, in the order of their paths.
func manuals(t *testing.T) []manual {
	t.Helper()
	var all []manual
	eachFile(t, func(file string, content []byte) {
		if strings.HasSuffix(file, ".md") {
			all = append(all, manual{file, string(content), markdown(string(content))})
		}
	})
	require.NotEmpty(t, all)
	return all
}

// markdown takes a text apart at its headings. It knows what these manuals use: headings that begin with #, and fences of
// three backticks.
func markdown(text string) []*section {
	list := []*section{{}}
	var open *block
	number := 0
	for line := range strings.Lines(text) {
		number++
		current := list[len(list)-1]
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch heading := headingLine.FindStringSubmatch(line); {
		case isFence && open == nil:
			open = &block{kind: fence, line: number}
		case isFence:
			current.blocks = append(current.blocks, *open)
			open = nil
		case open != nil:
			open.text += line
		case heading != nil:
			list = append(list, &section{title: heading[2], level: len(heading[1])})
		}
	}
	return list
}

var headingLine = regexp.MustCompile(`^(#+) +(.*?) *\n?$`)

// prose is the text without its blocks and without what stands in backticks.
func (m manual) prose() string {
	var b strings.Builder
	inside := false
	for line := range strings.Lines(m.text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inside = !inside
			continue
		}
		if !inside {
			b.WriteString(line)
		}
	}
	return codeSpan.ReplaceAllString(b.String(), "")
}

var codeSpan = regexp.MustCompile("`[^`]*`")

// anchors are the headings as links name them: in lower case, without punctuation, and with dashes for blanks.
func (m manual) anchors() map[string]bool {
	found := map[string]bool{}
	for _, s := range m.sections {
		found[anchor(s.title)] = true
	}
	return found
}

func anchor(title string) string {
	return strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

var notInAnchors = regexp.MustCompile(`[^\pL\pN _-]`)

// links are the targets of the links.
func (m manual) links() []string {
	var targets []string
	for _, match := range inlineLink.FindAllStringSubmatch(m.prose(), -1) {
		targets = append(targets, match[1])
	}
	return targets
}

var inlineLink = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// folder is where the manual is, from the top of the repository.
func (m manual) folder() string { return path.Dir(m.file) }

func TestMarkdownIsTakenApart(t *testing.T) {
	m := manual{text: "# Top\n\n[a](b.md#c), `[not](one)`\n\n```sh\n# no heading\n[no](link)\n```\n\n## `Second` part: it's *here*\n"}
	m.sections = markdown(m.text)
	require.Equal(t, []*section{{}, {title: "Top", level: 1, blocks: []block{{"sh", "# no heading\n[no](link)\n", 5}}}, {title: "`Second` part: it's *here*", level: 2}}, m.sections)
	require.Equal(t, []string{"b.md#c"}, m.links())
	require.Equal(t, map[string]bool{"": true, "top": true, "second-part-its-here": true}, m.anchors())
}
