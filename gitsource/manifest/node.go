package manifest

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// get returns the value of a key in a mapping, and the key itself; nil when it is not there.
func get(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Kind == yaml.ScalarNode && mapping.Content[i].Value == name {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

// text returns the text of a scalar in a mapping; "" when it is not there or is no scalar.
func text(mapping *yaml.Node, name string) string {
	_, value := get(mapping, name)
	if value != nil && value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if value == nil || value.Kind != yaml.ScalarNode {
		return ""
	}
	return value.Value
}

// isNull reports whether a value is not there, or is null.
func isNull(n *yaml.Node) bool { return n == nil || n.ShortTag() == "!!null" }

// isString reports whether YAML reads a node as a string. A tag of the author's own, such as !!str, counts.
func isString(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" }

// kindName says, in words for users, what YAML reads a node as.
func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!str":
		return "a string"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a boolean"
	case "!!null":
		return "null"
	case "!!timestamp":
		return "a date"
	}
	return "something else than a string"
}

// structure finds what no document of ours may have: one key twice, keys that are not text, and YAML's references,
// which could make a small file huge and which readers overlook.
func structure(n *yaml.Node, found func(at *yaml.Node, reason, message, hint string)) {
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		found(n, ReasonUnsupportedYAML, "anchors (&) and aliases (*) are not read here",
			"write the value out, or put it in quotes if it is meant to begin with & or *")
		return
	}
	if n.Kind == yaml.MappingNode {
		seen := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			switch first, twice := seen[key.Value]; {
			case key.Kind != yaml.ScalarNode:
				found(key, ReasonInvalidYAML, "a key is "+kindName(key)+" and not a name", "")
			case key.ShortTag() == "!!merge":
				found(key, ReasonUnsupportedYAML, "merge keys (<<) are not read here", "write the fields out")
			case twice:
				found(key, ReasonDuplicateKey, fmt.Sprintf("this key is here a second time, "+
					"after line %d, and programs differ in which one they take", first), "keep one of them")
			default:
				seen[key.Value] = key.Line
			}
		}
	}
	for _, child := range n.Content {
		structure(child, found)
	}
}

// plain turns a node into what encoding/json and sigs.k8s.io/yaml print: maps, slices, strings, numbers and booleans.
// What is no JSON, such as a date, stays the text that was written. It must have no aliases.
func plain(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		fields := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			fields[n.Content[i].Value] = plain(n.Content[i+1])
		}
		return fields
	case yaml.SequenceNode:
		items := []any{}
		for _, child := range n.Content {
			items = append(items, plain(child))
		}
		return items
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int":
		if i, err := strconv.ParseInt(n.Value, 0, 64); err == nil {
			return i
		}
	case "!!float":
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil && f-f == 0 {
			return f
		}
	}
	return n.Value
}

// nearest returns the known name that is most like a mistyped one, "" when none is.
func nearest(name string, known []string) string {
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, candidate := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// distance is Levenshtein's: how many bytes must be changed, added or dropped to make b of a.
func distance(a, b string) int {
	if len(a) > 100 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(row[j]+1, row[j-1]+1, change)
		}
	}
	return row[len(b)]
}
