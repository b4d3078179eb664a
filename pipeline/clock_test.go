// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// jumps returns times of a clock that runs, is set back a day, then ahead a year, and
// then back.
func jumps() []time.Time {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	day, year := 24*time.Hour, 365*24*time.Hour
	return []time.Time{at, at.Add(time.Minute), at.Add(-day), at.Add(-day + time.Minute), at.Add(year), at.Add(year + time.Minute), at.Add(2 * time.Minute), at.Add(day)}
}

// TestClockJumpsInTheJournal: segments keep the order in which they were cut, and lines
// are pushed in that order. Only finished segments beyond keep are pruned.
func TestClockJumpsInTheJournal(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *Config) { c.Journal.CutEvery, c.Journal.Keep = time.Hour, 1000 })
	l.start()
	l.swept()
	var paths []string
	for i, now := range jumps() {
		paths = append(paths, l.write(fmt.Sprint(i), "x"))
		l.judged(paths[i])
		lane := l.p.halves().lanes.Lane(journal.Live)
		must(t, lane.Cut(now))
		l.p.halves().producer.Prune(l.c.Journal.Keep)
	}
	all := l.sealed()
	if len(all) != len(paths) {
		t.Fatalf("%d segments sealed, %d left: %q", len(paths), len(all), all)
	}
	var order []string
	for _, s := range l.lines("live") { // in the order of the segments' names
		order = append(order, s.Path)
	}
	if !slices.Equal(order, paths) {
		t.Errorf("order %q, want %q", order, paths)
	}
	// What counts is their number and the cursors, never their age. The next line takes
	// the cursor past the last of them.
	paths = append(paths, l.write("next", "x"))
	l.judged(paths...)
	l.until("three are kept", func() bool { l.p.halves().producer.Prune(3); return len(l.sealed()) <= 3 })
	if left := l.sealed(); !slices.Equal(left, all[len(all)-3:]) {
		t.Errorf("left %q of %q", left, all)
	}
	l.halt()
	l.start() // nothing is pushed again, whatever time it is
	l.swept()
	l.judged(l.write("last", "x"))
	l.halt()
	if n := len(l.outcomes()); n != len(paths)+1 {
		t.Errorf("%d outcomes of %d files", n, len(paths)+1)
	}
}

// TestClockJumpsInTheLedger: the ledger is cut when the day changes, forward or back.
// Segments keep their order, and only those beyond keep are pruned.
func TestClockJumpsInTheLedger(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	led, err := ledger.Open(journal.OS, dir, ledger.Bounds{Keep: 5, Max: -1, MinFree: -1}, slog.New(slog.DiscardHandler))
	must(t, err)
	defer led.Close()
	for i, now := range jumps() {
		must(t, led.Record([]sample.Outcome{{Time: now, Scanner: "s", Path: fmt.Sprint("/", i), Outcome: sample.Done}}))
		must(t, led.Tend(now, 5, []ledger.Mark{led.End()}))
	}
	must(t, led.Record([]sample.Outcome{{Scanner: "s", Path: "/last", Outcome: sample.Done}}))
	names, err := filepath.Glob(filepath.Join(dir, ledger.Base+".*.log"))
	must(t, err)
	slices.Sort(names)
	var days, order []string
	for _, name := range append(names, filepath.Join(dir, ledger.Base)) {
		days = append(days, strings.TrimPrefix(filepath.Base(name), ledger.Base))
		text, err := os.ReadFile(name)
		must(t, err)
		for line := range strings.Lines(string(text)) {
			var o struct{ Path string }
			must(t, json.Unmarshal([]byte(line), &o))
			order = append(order, o.Path)
		}
	}
	if len(names) != 5 {
		t.Errorf("kept %q, want five", days)
	}
	want := []string{"/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/last"}
	if len(order) == 0 || !slices.Equal(order, want[len(want)-len(order):]) {
		t.Errorf("order %q in %q", order, days)
	}
}
