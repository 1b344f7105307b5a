package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a file, in bytes.
const maxFile = 1 << 20

// document is one YAML document, with lines counted in its file.
type document struct {
	path string
	root *yaml.Node
}

// isManifest reports whether a file is read at all.
func isManifest(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// split parses a file into its documents. A document that cannot be parsed becomes a problem, and the others are
// still read.
func split(name string, content []byte) ([]document, []Problem) {
	fileProblem := func(line int, reason, message, hint string) []Problem {
		return []Problem{{Path: name, Line: line, Reason: reason, Message: message, Hint: hint}}
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if len(content) > maxFile {
		return nil, fileProblem(0, ReasonUnreadableFile, fmt.Sprintf("the file is larger than %d bytes", maxFile), "split it")
	}
	if !utf8.Valid(content) {
		return nil, fileProblem(0, ReasonUnreadableFile, "the file is not UTF-8 text", "save it as UTF-8")
	}
	if strings.EqualFold(path.Ext(name), ".json") {
		var syntax *json.SyntaxError
		if err := json.Unmarshal(content, new(json.RawMessage)); errors.As(err, &syntax) {
			line := 1 + bytes.Count(content[:min(int(syntax.Offset), len(content))], []byte("\n"))
			return nil, fileProblem(line, ReasonInvalidYAML, "the file is not valid JSON", "a comma, a quote or a bracket is missing or too many near here")
		}
		// JSON is YAML, but for its tabs; in valid JSON they stand between values only.
		content = bytes.ReplaceAll(content, []byte("\t"), []byte(" "))
	}
	var documents []document
	var problems []Problem
	for _, part := range parts(content) {
		root, problem := parse(part.text)
		if problem != nil {
			problem.Path = name
			problem.Line += part.before
			problems = append(problems, *problem)
			continue
		}
		if root == nil {
			continue
		}
		shift(root, part.before)
		documents = append(documents, document{name, root})
	}
	return documents, problems
}

// part is the text of one document and the number of lines before it.
type part struct {
	text   []byte
	before int
}

// parts splits at the lines that begin a document. YAML allows "---" at the start of a line nowhere else.
func parts(content []byte) []part {
	var all []part
	start, startLine, line := 0, 0, 0
	for at := 0; at < len(content); line++ {
		end := bytes.IndexByte(content[at:], '\n')
		next := len(content)
		if end >= 0 {
			next = at + end + 1
		}
		if at > start && isMarker(content[at:next]) {
			all = append(all, part{content[start:at], startLine})
			start, startLine = at, line
		}
		at = next
	}
	return append(all, part{content[start:], startLine})
}

func isMarker(line []byte) bool {
	return bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || strings.IndexByte(" \t\r\n", line[3]) >= 0)
}

// parse returns the one value in a text, nil when there is only white space or comments.
func parse(text []byte) (root *yaml.Node, problem *Problem) {
	// The parser is a port from C; a bug of it must not stop the agent.
	defer func() {
		if recover() != nil {
			root, problem = nil, &Problem{Line: 1, Reason: ReasonInvalidYAML, Message: "the document cannot be parsed"}
		}
	}()
	var node yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	switch err := decoder.Decode(&node); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntaxProblem(text, err)
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		return nil, &Problem{Line: second.Line, Reason: ReasonInvalidYAML,
			Message: "something follows the end of the document", Hint: "begin the next document with a line ---"}
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxProblem(text, err)
	}
	if node.Kind != yaml.DocumentNode || len(node.Content) != 1 {
		return nil, nil
	}
	if root := node.Content[0]; root.Tag != "!!null" {
		return root, nil
	}
	return nil, nil
}

var errorLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntaxProblem explains why a text is not YAML. The parser's own words are taken only where they cannot quote the
// file: a password that begins with * is "an unknown anchor" to it.
func syntaxProblem(text []byte, err error) *Problem {
	p := &Problem{Line: 1, Reason: ReasonInvalidYAML, Message: "the document is not valid YAML"}
	words := err.Error()
	if m := errorLine.FindStringSubmatch(words); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		words = words[len(m[0]):]
	}
	words = strings.TrimPrefix(words, "yaml: ")
	switch {
	case strings.Contains(words, "anchor"):
		p.Line = lineOfAlias(text)
		p.Message = "a value that begins with * refers to an anchor that does not exist"
		p.Hint = "put the value in quotes"
	case strings.Contains(words, "cannot start any token"):
		p.Message += ": " + words
		p.Hint = "a tab in the indentation, or a value that begins with @, ` or % and has no quotes"
	case plainWords.MatchString(words):
		p.Message += ": " + words
	}
	return p
}

// plainWords matches the parser's fixed texts, which quote nothing.
var plainWords = regexp.MustCompile(`^(did not find|could not find|found|mapping values|block sequence|block collection|control characters|while )[a-zA-Z ,'\-<>:]*$`)

// lineOfAlias finds the first line that could hold an alias.
func lineOfAlias(text []byte) int {
	for i, line := range bytes.Split(text, []byte("\n")) {
		if bytes.Contains(line, []byte(" *")) || bytes.HasPrefix(line, []byte("*")) {
			return i + 1
		}
	}
	return 1
}

// shift adds lines to a node and everything below it. Aliases point back into the same tree and are not followed.
func shift(n *yaml.Node, lines int) {
	n.Line += lines
	for _, child := range n.Content {
		shift(child, lines)
	}
}
