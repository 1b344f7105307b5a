package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// bot writes one status, or gives up after a while, and returns in how many tries: 0 when it has given up.
type bot func(ctx context.Context, number int, limit time.Duration) (tries int, err error)

// written is what became of the statuses of one bot.
type written struct {
	times         []time.Duration // of each that was written
	tries         int             // for all of them
	others        []int           // pushes of each of the others meanwhile
	lost, doubled int
}

// writes lets gitrota, and then a script, write statuses to a branch that others push to all the time, and counts in
// the history what has become of them. Somebody else's push is taken between any two statuses.
func writes(ctx context.Context, w *world) ([]section, error) {
	repo := w.server.NewRepo("busy")
	repo.Import(gittest.Batch{Message: "begin", Files: secrets(10, w.perFolder)})
	repo.Repack()
	clients, err := w.three(repo)
	if err != nil {
		return nil, err
	}
	defer clients.close()
	byGitrota := func(ctx context.Context, number int, limit time.Duration) (int, error) {
		r, err := clients[ofGitrota].do(ctx, step{Do: doWrite, Number: number, Limit: limit})
		return r.Tries, err
	}
	byScript, err := w.script(ctx, w.url(repo))
	if err != nil {
		return nil, err
	}
	s := section{title: fmt.Sprintf("%d statuses written, %d others push", w.writes, w.writers)}
	of := [3]*written{}
	for column, write := range [3]bot{ofGitrota: byGitrota, ofGit: byScript} {
		if write == nil {
			continue
		}
		if of[column], err = w.written(ctx, repo, columns[column], write); err != nil {
			return nil, err
		}
		if len(of[column].times) < w.writes {
			s.notes = append(s.notes, fmt.Sprintf("%s was stopped after %s", columns[column], w.writing))
		}
	}
	s.rows = []row{
		writtenRow("written", asCount, of, func(did *written) float64 { return float64(len(did.times)) }).noCost().atLeast(float64(w.writes), "all"),
		writtenRow("time for each", asTime, of, func(did *written) float64 { return did.time(1, 2) }),
		writtenRow("time, 9 of 10 within", asTime, of, func(did *written) float64 { return did.time(9, 10) }),
		writtenRow("tries for each", asCount, of, func(did *written) float64 { return float64(did.tries) / float64(len(did.times)) }),
		writtenRow("others' pushes meanwhile", asCount, of, func(did *written) float64 { return float64(total(did.others)) }).noCost(),
		writtenRow("fewest of one of them", asCount, of, func(did *written) float64 { return float64(slices.Min(did.others)) }).noCost(),
		writtenRow("lost", asCount, of, func(did *written) float64 { return float64(did.lost) }).atMost(0, "0"),
		writtenRow("doubled", asCount, of, func(did *written) float64 { return float64(did.doubled) }).atMost(0, "0"),
	}
	s.notes = append(s.notes,
		"gitrota: its first try is on the tip that it saw last, which the others have left behind",
		"git: fetch, commit, push in a loop until the push is taken")
	return []section{s}, nil
}

func writtenRow(name string, unit unit, of [3]*written, part func(*written) float64) row {
	r := row{name: name, unit: unit}
	for column, did := range of {
		r.values[column] = notMeasured
		if did != nil {
			r.values[column] = part(did)
		}
	}
	return r
}

// time is how long a write took: the value that some part of all writes did not exceed.
func (did *written) time(part, of int) float64 {
	if len(did.times) == 0 {
		return notMeasured
	}
	sorted := slices.Sorted(slices.Values(did.times))
	return float64(sorted[(len(sorted)-1)*part/of])
}

// written lets a bot write among the others, all of whom have to get something in: what is not lost where nobody races
// proves nothing.
func (w *world) written(ctx context.Context, repo *gittest.Repo, name string, write bot) (*written, error) {
	w.progress("%s writes %d statuses while %d others push", name, w.writes, w.writers)
	others, err := w.crowd(ctx, repo, name)
	if err != nil {
		return nil, err
	}
	did, err := w.writeAll(ctx, write, others)
	did.others = others.counts()
	if err := errors.Join(others.leave(), err); err != nil {
		return nil, err
	}
	if slices.Min(did.others) == 0 {
		return nil, fmt.Errorf("no race: %s wrote %d statuses in %s, and one of the %d others not once", name, len(did.times), w.writing, w.writers)
	}
	did.lost, did.doubled, err = w.inHistory(ctx, repo, name, len(did.times))
	return did, err
}

// writeAll writes one status after the other, for as long as there is time.
func (w *world) writeAll(ctx context.Context, write bot, others *crowd) (*written, error) {
	did := &written{}
	begun := time.Now()
	limited, cancel := context.WithTimeout(ctx, w.writing)
	defer cancel()
	before := -1 // pushes of the others, when the last status was in
	for number := range w.writes {
		if !others.answer(limited, before, number) {
			return did, ctx.Err()
		}
		if number%10 == 0 {
			w.progress("%d statuses and %d pushes of others in %s", number, total(others.counts()), time.Since(begun).Round(time.Second))
		}
		from := time.Now()
		tries, err := write(ctx, number, w.writing-time.Since(begun))
		if err != nil || tries == 0 {
			return did, err
		}
		did.times = append(did.times, time.Since(from))
		did.tries += tries
		before = total(others.counts())
	}
	return did, nil
}

// The script of somebody who needs no agent. It prints its tries.
const script = `
tries=0
while :; do
	tries=$((tries + 1))
	git fetch --quiet origin main && git reset --quiet --hard FETCH_HEAD &&
		mkdir -p "$(dirname "$FILE")" && printf '%s' "$CONTENT" >"$FILE" && git add "$FILE" &&
		git commit --quiet -m "$MESSAGE" && git push --quiet origin HEAD:main && break
done 2>/dev/null
echo $tries`

func (w *world) script(ctx context.Context, url string) (bot, error) {
	dir, err := w.folder("script")
	if err != nil {
		return nil, err
	}
	if _, _, err := runGit(ctx, dir, "clone", "--quiet", url, "."); err != nil {
		return nil, err
	}
	return func(ctx context.Context, number int, limit time.Duration) (int, error) {
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		s := newStatus("git", number)
		printed, _, err := command(limited, dir, []string{
			"FILE=" + s.path, "CONTENT=" + s.content, "MESSAGE=" + s.subject + "\n\n" + idTrailer + ": " + s.id,
		}, "sh", "-c", script)
		switch {
		case err != nil && limited.Err() != nil:
			return 0, ctx.Err()
		case err != nil:
			return 0, err
		}
		return strconv.Atoi(printed)
	}, nil
}
