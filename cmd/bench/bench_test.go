package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitrota/gitrota/gitsource/gittest"
)

// The workers are this program again, which in a test is the test.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == workerCommand {
		os.Exit(workerMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// tiny is enough for a test.
var tiny = scale{
	refs: []int{3, 300}, polls: 3, pollTime: time.Second,
	folders: 3, perFolder: 4, runs: 1, history: 20,
	changes: 4, slow: 3, settled: 2, following: time.Minute,
	writes: 2, writers: 1, writing: time.Minute,
}

func TestThePollsAreMeasuredBesideTheirYardsticks(t *testing.T) {
	measured, err := measure(t.Context(), tiny, "", []string{"poll"})
	require.NoError(t, err)
	require.Empty(t, measured.failures)
	few, many := measured.sections[0], measured.sections[1]
	for _, s := range measured.sections {
		for _, r := range s.rows {
			for column, value := range r.values {
				require.Positive(t, value, "%s of %s, %s", r.name, columns[column], s.title)
			}
		}
	}
	require.Equal(t, 1.0, few.rows[0].values[ofGoGit], "go-git asks once for all references")
	// Each reference that is listed takes more than its hash of 40 digits, and go-git lists them all.
	require.Equal(t, "bytes in", few.rows[1].name)
	require.Greater(t, many.rows[1].values[ofGoGit]-few.rows[1].values[ofGoGit], float64(297*40))

	var printed strings.Builder
	measured.print(&printed)
	lines := strings.Split(printed.String(), "\n")
	require.Regexp(t, `gitrota +go-git +ratio +git +ratio +target +verdict`, lines[3])
	require.Regexp(t, `^  requests +\d.* +\d+ +\d.*x +\d+ +\d.*x  1 +(reached|missed)$`, lines[6])
	for _, line := range lines {
		require.LessOrEqual(t, len(line), 120, line)
	}
}

func TestEveryKindOfRowsCanBeMeasured(t *testing.T) {
	measured, err := measure(t.Context(), tiny, "", []string{"change", "cold", "lookback", "growth", "writes"})
	require.NoError(t, err)
	require.Empty(t, measured.failures)
	var titles []string
	for _, s := range measured.sections {
		titles = append(titles, s.title)
	}
	require.Equal(t, []string{
		"one file changes, of 12", "cold start, all of 12 files watched", "cold start, 4 of 12 files watched",
		"who brought a file, 20 commits ago, beside 6 files", "after 4 changes of one file", "2 statuses written, 1 others push",
	}, titles)
	require.Equal(t, [3]float64{4, 3, 4}, rowOf(t, measured, "changes followed").values, "go-git follows fewer")
	for _, column := range []int{ofGitrota, ofGit} {
		require.Equal(t, 2.0, rowOf(t, measured, "written").values[column])
		require.Positive(t, rowOf(t, measured, "fewest of one of them").values[column], "others push between two statuses")
	}
}

func rowOf(t *testing.T, measured *table, name string) row {
	for _, s := range measured.sections {
		for _, r := range s.rows {
			if r.name == name {
				return r
			}
		}
	}
	require.Fail(t, "there is no row "+name)
	return row{}
}

func TestGrowthOverFewerChangesThanAskedForIsMissed(t *testing.T) {
	w, err := newWorld(tiny, "")
	require.NoError(t, err)
	defer w.close()
	repo := w.largeRepo()
	clients, err := w.three(repo)
	require.NoError(t, err)
	defer clients.close()
	var runs []*longRun
	for i, c := range clients {
		_, err := c.do(t.Context(), step{Do: doRead, Dirs: []string{watched, statuses}})
		require.NoError(t, err)
		runs = append(runs, &longRun{client: c, column: i, most: 4, done: 3, before: 1 << 30})
	}
	sections, err := w.grown(t.Context(), runs, w.url(repo))
	require.NoError(t, err)
	for _, r := range sections[0].rows {
		require.Equal(t, r.target != "", r.missed, r.name)
	}
	require.Contains(t, sections[0].notes, "gitrota after 3 changes only: more take too long")
}

func TestAStatusIsWrittenOnceTheOthersHaveHadTheirTurn(t *testing.T) {
	require.True(t, answered([]int{0, 0}, -1, 0), "the first one at once")
	require.False(t, answered([]int{2, 1}, 3, 1), "nobody has pushed since")
	require.True(t, answered([]int{2, 2}, 3, 1))
	require.True(t, answered([]int{0, 1}, 0, 1), "anybody will do for one")
	require.False(t, answered([]int{0, 7}, 6, 2), "one of the two has only watched")
	require.True(t, answered([]int{1, 1}, 1, 2))
	require.False(t, answered([]int{1, 4}, 4, 4), "one of the two has watched for too long")
}

func TestWhereTheOthersGetNothingInThereIsNoRace(t *testing.T) {
	hurried := tiny
	hurried.writing = 0
	w, err := newWorld(hurried, "")
	require.NoError(t, err)
	defer w.close()
	repo := w.server.NewRepo("busy")
	repo.Import(gittest.Batch{Message: "begin", Files: map[string]string{"README.md": "x"}})
	givesUp := func(context.Context, int, time.Duration) (int, error) { return 0, nil }
	_, err = w.written(t.Context(), repo, "gitrota", givesUp)
	require.EqualError(t, err, "no race: gitrota wrote 0 statuses in 0s, and one of the 1 others not once")
}

func TestAMissedTargetIsNoFailure(t *testing.T) {
	measured := &table{sections: []section{{title: "x", rows: []row{
		row{name: "too much", unit: asBytes, values: [3]float64{2048, 512, notMeasured}}.atMost(1<<10, "1 KB at most"),
		row{name: "just enough", unit: asBytes, values: [3]float64{1024, 2048, 4096}}.atMost(1<<10, "1 KB at most"),
	}}}}
	var printed strings.Builder
	measured.print(&printed)
	require.Regexp(t, `(?m)^  too much +2048 B +512 B +0\.25x +- +1 KB at most +missed$`, printed.String())
	require.Regexp(t, `(?m)^  just enough +1024 B +2048 B +2\.0x +4096 B +4\.0x +1 KB at most +reached$`, printed.String())
}

func TestWhatCannotBeMeasuredIsSaid(t *testing.T) {
	_, err := measure(t.Context(), tiny, "", []string{"speed"})
	require.EqualError(t, err, `there are no rows "speed": give some of poll,change,cold,lookback,growth,writes`)

	w, err := newWorld(tiny, "")
	require.NoError(t, err)
	defer w.close()
	clients, err := w.three(w.server.NewRepo("empty"))
	require.NoError(t, err)
	defer clients.close()
	_, err = w.do(t.Context(), clients[ofGitrota], step{Do: doPoll, Times: 1})
	require.ErrorContains(t, err, "the branch does not exist")
}

func TestTheHistoryTellsLostAndDoubledStatuses(t *testing.T) {
	w, err := newWorld(tiny, "")
	require.NoError(t, err)
	defer w.close()
	repo := w.server.NewRepo("busy")
	commit := func(number int) gittest.Batch {
		s := newStatus("git", number)
		return gittest.Batch{Message: s.subject + "\n\n" + idTrailer + ": " + s.id, Files: map[string]string{s.path: s.content}}
	}
	overwritten := commit(2)
	overwritten.Files = map[string]string{newStatus("git", 2).path: "something else"}
	repo.Import(commit(0), commit(1), commit(1), commit(2), overwritten)
	lost, doubled, err := w.inHistory(t.Context(), repo, "git", 4)
	require.NoError(t, err)
	require.Equal(t, 2, lost, "number 2 was overwritten, number 3 never came")
	require.Equal(t, 2, doubled, "numbers 1 and 2 were committed twice")
}

func TestTheProxyCountsWhatGoesOverTheWire(t *testing.T) {
	w, err := newWorld(tiny, "")
	require.NoError(t, err)
	defer w.close()
	repo := w.server.NewRepo("one")
	repo.Import(gittest.Batch{Message: "begin", Files: map[string]string{"large": noise(random(1), 300_000)}})
	clients, err := w.three(repo)
	require.NoError(t, err)
	defer clients.close()
	r, err := w.do(t.Context(), clients[ofGit], step{Do: doRead})
	require.NoError(t, err)
	// base64 is a third more than it holds, and does not compress to less.
	require.InDelta(t, 300_000, r.Cost.In, 30_000)
	require.Less(t, r.Cost.Out, 5_000.0)
	require.Equal(t, repo.Head(), r.Tip)
}
