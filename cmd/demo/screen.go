package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// screen prints for people: aligned, and in colour on a terminal only.
type screen struct {
	out    io.Writer
	colour bool
	part   int
}

func newScreen(file *os.File) *screen {
	info, err := file.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &screen{out: file, colour: terminal && os.Getenv("NO_COLOR") == ""}
}

// The colours of ANSI terminals, by what they are for.
const (
	strong = "1"
	faint  = "2"
	good   = "32"
	bad    = "31"
	source = "36"
)

func (s *screen) paint(colour, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// heading begins a part, and says in a sentence why it matters.
func (s *screen) heading(title, why string) {
	s.part++
	fmt.Fprintf(s.out, "\n%s\n%s\n", s.paint(strong, fmt.Sprintf("%d. %s", s.part, title)), s.paint(faint, indent(why, "   ")))
}

// line prints what happened now.
func (s *screen) line(what, text string) { s.at(time.Now(), source, what, text) }

// at prints what happened at a time, in UTC as the statuses have it.
func (s *screen) at(when time.Time, colour, what, text string) {
	fmt.Fprintf(s.out, "   %s  %s %s\n", s.paint(faint, when.UTC().Format("15:04:05")), s.paint(colour, fmt.Sprintf("%-10s", what)), text)
}

// held prints a claim that was checked.
func (s *screen) held(claim string) {
	fmt.Fprintf(s.out, "   %s %s\n", s.paint(good, "ok"), claim)
}

// failed prints why the demonstration is over.
func (s *screen) failed(why string) {
	fmt.Fprintf(s.out, "\n%s %s\n", s.paint(bad, "FAILED"), why)
}

// excerpt prints a text as it is, such as a file, under its title.
func (s *screen) excerpt(title, text string) {
	fmt.Fprintf(s.out, "\n   %s\n%s\n", s.paint(strong, title), indent(strings.TrimRight(text, "\n"), "   | "))
}

// plain prints a line without a time.
func (s *screen) plain(text string) { fmt.Fprintln(s.out, indent(text, "   ")) }

func indent(text, by string) string {
	return by + strings.ReplaceAll(text, "\n", "\n"+by)
}
