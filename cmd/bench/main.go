// What SQL Server makes for itself is readable with it: see cmd/gitrota/main.go.
//go:debug x509negativeserial=1

// Command bench shows what the Git side of gitrota costs, in one table: `make bench`.
//
// Every row has its yardsticks beside it, measured in the same run, on the same machine, against the same server: git
// http-backend over HTTP on loopback. They are what a user would have instead: go-git, the library that most agents of
// this kind are made with, and the git binary in a script. What a row has to reach is printed with it. A target that
// is missed is shown as missed; the command fails only where something could not be measured.
//
// gitrota and go-git run in processes of their own (worker.go), as git does, so that their CPU time and memory are not
// the server's. What goes over the wire is counted by a proxy in front of the server (proxy.go).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// kinds are the parts of the table, in their order.
var kinds = []struct {
	name string
	rows func(context.Context, *world) ([]section, error)
}{
	{"poll", polls},
	{"change", changes},
	{"cold", coldStarts},
	{"lookback", lookBacks},
	{"growth", growth},
	{"writes", writes},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == workerCommand {
		os.Exit(workerMain(os.Args[2:]))
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("rows", "", "measure these `kinds` of rows only, separated by commas: "+kindNames())
	quick := flags.Bool("quick", false, "small numbers, to see that it works")
	profiles := flags.String("profile", "", "write CPU and heap profiles of gitrota into this `folder`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: %q is no flag; to measure some rows only, give -rows %s\n", flags.Arg(0), flags.Arg(0))
		return 2
	}
	size := full
	if *quick {
		size = small
	}
	var chosen []string
	if *only != "" {
		chosen = strings.Split(*only, ",")
	}
	table, err := measure(ctx, size, *profiles, chosen)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	table.print(os.Stdout)
	if len(table.failures) > 0 {
		return 1
	}
	return 0
}

// measure fills the table with the chosen kinds of rows; none chosen means all.
func measure(ctx context.Context, size scale, profiles string, chosen []string) (*table, error) {
	for _, name := range chosen {
		if !strings.Contains(","+kindNames()+",", ","+name+",") {
			return nil, fmt.Errorf("there are no rows %q: give some of %s", name, kindNames())
		}
	}
	w, err := newWorld(size, profiles)
	if err != nil {
		return nil, err
	}
	defer w.close()
	t := &table{machine: machine()}
	for _, kind := range kinds {
		if len(chosen) > 0 && !slices.Contains(chosen, kind.name) {
			continue
		}
		sections, err := attempt(ctx, w, kind.rows)
		t.sections = append(t.sections, sections...)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			t.failures = append(t.failures, fmt.Sprintf("%s: %v", kind.name, err))
		}
	}
	return t, nil
}

// attempt measures rows. The Git server of the tests panics where a test would fail.
func attempt(ctx context.Context, w *world, rows func(context.Context, *world) ([]section, error)) (sections []section, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return rows(ctx, w)
}

func kindNames() string {
	var names []string
	for _, kind := range kinds {
		names = append(names, kind.name)
	}
	return strings.Join(names, ",")
}
