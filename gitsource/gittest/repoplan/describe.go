package repoplan

import (
	"fmt"
	"strings"
)

// String describes the plan for people, a line for each thing that is done.
func (p *Plan) String() string {
	var s strings.Builder
	wire, version := "HTTP", "version 2"
	if p.Server.SSH {
		wire = "SSH"
	}
	if p.Server.Older {
		version = "version 0"
	}
	fmt.Fprintf(&s, "a bare repository, served over %s in %s of the protocol", wire, version)
	if p.Server.TipOnly {
		s.WriteString(", which sends nothing by name but tips")
	}
	if p.Loose {
		s.WriteString(", its objects stored one by one")
	}
	s.WriteByte('\n')
	for _, setting := range p.Config {
		fmt.Fprintf(&s, "  git config %s\n", strings.Replace(setting, "=", " ", 1))
	}
	for number, stage := range p.Stages {
		fmt.Fprintf(&s, "push %d:\n", number)
		for _, c := range p.Commits {
			if c.Stage == number {
				c.describe(&s)
			}
		}
		if stage.Deleted {
			s.WriteString("  main is deleted\n")
		} else {
			fmt.Fprintf(&s, "  main is at commit %d\n", stage.Tip)
		}
		for _, ref := range stage.Refs {
			fmt.Fprintf(&s, "  %s is at commit %d%s\n", ref.Name, ref.Commit, map[bool]string{true: ", annotated"}[ref.Annotated])
		}
		if stage.Alternates {
			s.WriteString("  all objects move into another repository, from which this one borrows\n")
		}
		if stage.Partial > 0 {
			fmt.Fprintf(&s, "  all objects move into another repository, of which this one becomes a clone with --filter=blob:limit=%d\n", stage.Partial)
		}
		if len(stage.Shallow) > 0 {
			fmt.Fprintf(&s, "  the file shallow has the commits %d\n", stage.Shallow)
		}
		for _, line := range stage.Maintenance {
			fmt.Fprintf(&s, "  git %s\n", line)
		}
	}
	return s.String()
}

func (c Commit) describe(s *strings.Builder) {
	fmt.Fprintf(s, "  commit %d", c.ID)
	switch {
	case len(c.Parents) == 0:
		s.WriteString(", a root")
	case c.Parents[0] == Tip:
		fmt.Fprintf(s, " on the tip %d", c.Parents[1:])
	default:
		fmt.Fprintf(s, " on %d", c.Parents)
	}
	fmt.Fprintf(s, " at %d %s by %q: %q\n", c.At, c.Zone, c.Author, c.Message)
	for _, f := range c.Files {
		if f.Mode == Gone {
			fmt.Fprintf(s, "    delete %q\n", f.Path)
			continue
		}
		fmt.Fprintf(s, "    %s %q %s\n", f.Mode, f.Path, f.Content)
	}
}

// String describes a content.
func (c Content) String() string {
	switch {
	case c.Literal != "":
		return fmt.Sprintf("%.60q", c.Literal)
	case c.Noise:
		return fmt.Sprintf("%d bytes of noise %d.%d", c.Size, c.Seed, c.Edit)
	}
	return fmt.Sprintf("%d bytes of text %d.%d", c.Size, c.Seed, c.Edit)
}
