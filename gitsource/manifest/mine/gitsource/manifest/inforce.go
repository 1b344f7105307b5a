package manifest

import "sigs.k8s.io/yaml"

// WithPolicies returns the set with other policies in place of its own.
func (s *Set) WithPolicies(policies []*Policy) *Set {
	other := *s
	other.Policies = policies
	return &other
}

// PolicyOf reads a policy from a copy of its document, as Policy.Raw has it, and says of it that it stands at a place.
func PolicyOf(raw map[string]any, path string, line int) *Policy {
	content, err := yaml.Marshal(raw)
	if err != nil {
		content = nil // maps, slices, strings, numbers and booleans can all be written
	}
	set := Join(ParseFile(path, content))
	if len(set.Policies) != 1 {
		return &Policy{Path: path, Line: line, Problems: []Problem{{Path: path, Line: line, Reason: ReasonUnusablePolicy, Message: "the record of the policy in force holds none"}}}
	}
	p := set.Policies[0]
	p.Line = line
	for i := range p.Databases {
		p.Databases[i].Line = line
	}
	return p
}
