package main

import (
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// columns are who is compared. The first is measured against the others.
var columns = [3]string{"gitrota", "go-git", "git"}

// table is what the benchmark prints.
type table struct {
	machine  string
	sections []section
	failures []string // what could not be measured
}

// section is a thing that was done, and what it cost.
type section struct {
	title string
	rows  []row
	notes []string
}

// row is one part of the cost, for each of the columns.
type row struct {
	name   string
	unit   unit
	values [3]float64 // NaN for what was not measured
	target string     // what gitrota has to reach; "" for no target
	missed bool       // the target
	fact   bool       // that is no cost, and has no ratio
}

// notMeasured stands in a row for a client that does not take part in it.
var notMeasured = math.NaN()

// unit prints a value that was measured.
type unit func(float64) string

func (u unit) print(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return u(v)
}

func asCount(v float64) string {
	if v == math.Trunc(v) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func asBytes(v float64) string {
	switch {
	case math.Abs(v) < 10_000:
		return fmt.Sprintf("%.0f B", v)
	case math.Abs(v) < 1<<20:
		return fmt.Sprintf("%.1f KB", v/(1<<10))
	}
	return fmt.Sprintf("%.1f MB", v/(1<<20))
}

func asTime(v float64) string {
	if d := time.Duration(v); d < 10*time.Millisecond {
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	} else if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", time.Duration(v).Seconds())
}

// noCost says that less is not better.
func (r row) noCost() row {
	r.fact = true
	return r
}

// atMost gives a row its target: that gitrota's value is no more than a limit. What was not measured does not reach it.
func (r row) atMost(limit float64, target string) row {
	r.target, r.missed = target, !(r.values[0] <= limit)
	return r
}

// atLeast is the opposite.
func (r row) atLeast(limit float64, target string) row {
	r.target, r.missed = target, !(r.values[0] >= limit)
	return r
}

// provided makes a row miss its target unless what it tells of has happened.
func (r row) provided(happened bool) row {
	r.missed = r.missed || !happened
	return r
}

const rowFormat = "%-28s %9s  %9s %6s  %9s %6s  %-22s %s\n"

func (t *table) print(to io.Writer) {
	fmt.Fprintf(to, "The Git side: what gitrota costs, against go-git and git at the same server.\n%s\n\n", t.machine)
	header := fmt.Sprintf(rowFormat, "", columns[0], columns[1], "ratio", columns[2], "ratio", "target", "verdict")
	fmt.Fprintf(to, "%s%s\n", header, strings.Repeat("-", 108))
	for _, s := range t.sections {
		fmt.Fprintln(to, s.title)
		for _, r := range s.rows {
			verdict := ""
			if r.target != "" {
				verdict = map[bool]string{true: "missed", false: "reached"}[r.missed]
			}
			goGit, goGitRatio := r.against(1)
			git, gitRatio := r.against(2)
			line := fmt.Sprintf(rowFormat, "  "+r.name, r.unit.print(r.values[0]), goGit, goGitRatio, git, gitRatio, r.target, verdict)
			fmt.Fprintln(to, strings.TrimRight(line, " \n"))
		}
		for _, note := range s.notes {
			fmt.Fprintln(to, "  ("+note+")")
		}
		fmt.Fprintln(to)
	}
	fmt.Fprint(to, legend)
	for _, failure := range t.failures {
		fmt.Fprintln(to, "NOT MEASURED", failure)
	}
}

// against returns a yardstick's value, and how many times gitrota's that is.
func (r row) against(column int) (value, ratio string) {
	yardstick, own := r.values[column], r.values[0]
	value = r.unit.print(yardstick)
	if r.fact || !(own > 0 && yardstick >= 0) {
		return value, ""
	}
	times, digits := yardstick/own, 1
	switch {
	case times >= 10:
		digits = 0
	case times < 1:
		digits = 2
	}
	return value, fmt.Sprintf("%.*fx", digits, times)
}

const legend = `ratio     how many times gitrota's cost the other one's is: above 1x, gitrota is cheaper
bytes     on the wire between client and server, HTTP headers included; "in" is what the client receives
CPU       user and system time of the client alone; git is one process for each thing that it does, as in a script
memory    resident; "peak" since the process began, "idle" after a garbage collection
`

// goGitVersion is the version that this program is built with.
func goGitVersion() string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/go-git/go-git/v5" {
				return module.Version
			}
		}
	}
	return "of an unknown version"
}

// costRow makes a row of one part of three costs.
func costRow(name string, unit unit, costs [3]cost, part func(cost) float64) row {
	r := row{name: name, unit: unit}
	for i, c := range costs {
		r.values[i] = part(c)
	}
	return r
}

// The parts of a cost. What is not known is not measured.
func requests(c cost) float64 { return c.Requests }
func bytesIn(c cost) float64  { return c.In }
func onWire(c cost) float64   { return c.In + c.Out }
func elapsed(c cost) float64  { return float64(c.Time) }
func cpu(c cost) float64      { return float64(c.CPU) }
func peak(c cost) float64 {
	if c.Peak == 0 {
		return notMeasured
	}
	return float64(c.Peak)
}

// thousands prints a number for people: 50,000.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
