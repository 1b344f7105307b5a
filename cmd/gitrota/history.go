package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitrota/gitrota/gitsource/clone"
	"github.com/gitrota/gitrota/gitsource/manifest"
	"github.com/gitrota/gitrota/reconcile"
	"github.com/gitrota/gitrota/reconcile/audit"
)

func newHistory() *cobra.Command {
	var o gitOptions
	cmd := &cobra.Command{
		Use:   "history [flags] DATABASE",
		Short: "Tell the story of one database from Git alone",
		Long: `Tell the story of one database from Git alone: every request in order, who asked for it
and who approved it, what became of it, how long that took, and in which commits it is
written.

Run it in a clone, after git fetch. It needs no cluster. DATABASE is a name, or
namespace/name. It tells what the commits say and proves nothing: see gitrota audit verify.`,
		Example: `  gitrota history orders

  # As JSON, from a clone elsewhere, with the statuses on a branch of their own
  gitrota history shop/orders --repo-dir ~/rotations --status-branch rotation-status -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			return o.tell(cmd.OutOrStdout(), args[0])
		},
	}
	o.addTo(cmd)
	return cmd
}

func (o *gitOptions) tell(out io.Writer, database string) error {
	from, err := clone.Open(o.repoDir)
	if err != nil {
		return err
	}
	defer from.Close()
	tip, _, err := o.tips(from)
	if err != nil {
		return err
	}
	namespace, name, both := strings.Cut(database, "/")
	if !both {
		namespace, name = "", database
	}
	story, err := audit.Tell(from, tip, o.statusPath, namespace, name)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return writeJSON(out, story)
	}
	_, err = io.WriteString(out, storyText(story))
	return err
}

// storyText is a story for people, 80 columns wide.
func storyText(s *audit.Story) string {
	rotations, last := 0, time.Time{}
	for _, r := range s.Requests {
		if r.Phase == string(reconcile.PhaseSuccessful) {
			rotations++
			if r.Ended.After(last) {
				last = r.Ended
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s", s.Database, count(len(s.Requests), "request", "requests"), count(rotations, "rotation", "rotations"))
	if rotations > 0 {
		fmt.Fprintf(&b, ", the last on %s", stamp(last))
	}
	b.WriteString("\n")
	for _, r := range s.Requests {
		b.WriteString("\n" + chapterText(r))
	}
	return b.String()
}

func chapterText(c audit.Chapter) string {
	var b strings.Builder
	line := func(label, text string) { b.WriteString(indent(fmt.Sprintf("  %-10s", label), text)) }
	what := c.Request
	if c.Kind == manifest.KindRollback {
		what += " (a rollback)"
	}
	fmt.Fprintf(&b, "%s: %s\n", what, c.Phase)
	asked := c.Source.Author
	if !c.Source.Time.IsZero() {
		asked = stamp(c.Source.Time) + "  " + asked
	}
	line("asked", asked)
	if c.Source.Commit != "" {
		line("", strings.TrimSpace(short(c.Source.Commit)+"  "+c.Source.Subject))
	}
	if c.Source.Path != "" {
		line("", fmt.Sprintf("%s:%d", c.Source.Path, c.Source.Line))
	}
	for _, approval := range c.Approvals {
		line("approved", approval)
	}
	if !c.Began.IsZero() {
		line("began", stamp(c.Began))
	}
	if !c.Ended.IsZero() {
		ended := stamp(c.Ended)
		if took := c.Ended.Sub(c.Began); !c.Began.IsZero() && took > 0 {
			ended += ", after " + took.String()
		}
		line("ended", ended)
	}
	label := "notes"
	for _, r := range c.Remarks {
		kind := r.Type
		if r.Reason != "" {
			kind += " (" + r.Reason + ")"
		}
		line(label, kind+": "+r.Message)
		label = ""
	}
	label = "commits"
	for _, r := range c.Commits {
		phase := r.Phase
		if phase == "" {
			phase = "removed the status, by " + r.Author
		}
		line(label, stamp(r.Time)+"  "+short(r.Commit)+"  "+phase)
		label = ""
	}
	if c.Deleted {
		line("", "the status is not there any more: this is the last one that was")
	}
	return b.String()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// textWidth is how wide a text for people is.
const textWidth = 80

// indent writes a text behind a label and breaks its lines, which begin below where the text begins. Control
// characters, which a commit of somebody else's may hold, are blanks.
func indent(label, text string) string {
	var b strings.Builder
	b.WriteString(label)
	used := len(label)
	for i, word := range strings.FieldsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f && c <= 0xa0 }) {
		length := len([]rune(word))
		switch {
		case i > 0 && used+1+length > textWidth:
			b.WriteString("\n" + strings.Repeat(" ", len(label)))
			used = len(label)
		case i > 0:
			b.WriteString(" ")
			used++
		}
		b.WriteString(word)
		used += length
	}
	b.WriteString("\n")
	return b.String()
}
