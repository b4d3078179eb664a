// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// garbage returns the lines of a log of another program: bad unreadable ones, then a
// good one, n times.
func garbage(n, bad int) []byte {
	var b bytes.Buffer
	for i := range n {
		for range bad {
			b.WriteString(strings.Repeat("no path ", 8) + "\n")
		}
		fmt.Fprintf(&b, "/srv/samples/%050d\n", i)
	}
	return b.Bytes()
}

// foreignLog returns lines that read a log with these bytes, and counts what they do to the
// disk and to the log.
func foreignLog(t *testing.T, text []byte) (l *lines, ops *int, logged *bytes.Buffer) {
	t.Helper()
	d := disktest.New()
	ops, logged = new(int), &bytes.Buffer{}
	d.Before = func(disktest.Op) error { *ops++; return nil }
	dirs, err := store.OpenFolders(store.Disk{Disk: d}, "/state", "/state/journal")
	must(t, err)
	f, err := dirs.Journal.Open(journal.Base(journal.Live), os.O_RDWR|os.O_CREATE|os.O_APPEND)
	must(t, err)
	_, err = f.Write(text)
	must(t, err)
	must(t, f.Sync())
	led, err := ledger.Open(d, "/state/ledger", ledger.Bounds{Keep: 1, Max: -1, MinFree: -1}, slog.New(slog.DiscardHandler))
	must(t, err)
	c := Config{Dirs: dirs, Ledger: led, Source: Apart{}, Metrics: NewMetrics(), Log: slog.New(slog.NewTextHandler(logged, nil))}
	c.Scanner.Name, c.Scanner.Queue = "one", 1
	c.Tail = func(lane string) journal.Tail { return journal.NewFollower(dirs.Journal, journal.Base(lane)) }
	l, err = newLines(t.Context(), c)
	must(t, err)
	return l, ops, logged
}

// TestUnreadableLinesCostAsLittleAsGoodOnes: nothing is written, listed or logged for
// each of them, and a good line among them is handed out.
func TestUnreadableLinesCostAsLittleAsGoodOnes(t *testing.T) {
	const n = 2000
	l, ops, logged := foreignLog(t, garbage(n, 3))
	before := *ops
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- l.follow(ctx, l.live) }()
	for i := range n {
		if p := <-l.live.queue; !strings.HasSuffix(p.sample.Path, fmt.Sprint(i)) {
			t.Fatalf("line %d is %s", i, p.sample.Path)
		}
	}
	stop()
	must(t, <-ended)
	if *ops -= before; *ops > 20 {
		t.Errorf("%d operations that change something while %d lines are read", *ops, 4*n)
	}
	must(t, l.saveCursors())
	all, err := store.LoadDamage(l.cursors)
	must(t, err)
	if len(all) == 0 || len(all) > mostUntold {
		t.Errorf("%d files tell damage", len(all))
	}
	l.sayMore()
	l.sayMore()
	if said := strings.Count(logged.String(), "names no file"); said != mostSaid || !strings.Contains(logged.String(), fmt.Sprint("lines=", 3*n-mostSaid)) {
		t.Errorf("%d lines are named:\n%s", said, logged)
	}
	cost := func(text []byte) float64 {
		l, _, _ := foreignLog(t, text)
		line, ok, err := l.live.r.Next(t.Context())
		if err != nil || !ok {
			t.Fatal(err)
		}
		l.live.bad.said = mostSaid
		return testing.AllocsPerRun(1000, func() {
			if l.handOut(t.Context(), l.live, line); len(l.live.queue) > 0 {
				<-l.live.queue
			}
		})
	}
	if bad, good := cost(garbage(1, 1)), cost(garbage(1, 0)); bad > 3*good {
		t.Errorf("an unreadable line takes %v allocations, a good one %v", bad, good)
	}
}

// TestAStopIsHeardAmongUnreadableLines: reading them waits for nothing, so it looks.
func TestAStopIsHeardAmongUnreadableLines(t *testing.T) {
	for what, text := range map[string][]byte{"many": bytes.Repeat([]byte("no path\n"), 100_000), "one without an end": bytes.Repeat([]byte("no path "), 1<<20)} {
		l, _, _ := foreignLog(t, text)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		must(t, l.follow(ctx, l.live))
		if at := l.live.r.At(); at != (journal.Pos{}) && at.Offset != 0 {
			t.Errorf("%s: it read on to %v", what, at)
		}
	}
}

// TestNeighboursAreOneDamage, also if they were told at different times.
func TestNeighboursAreOneDamage(t *testing.T) {
	l, _, _ := foreignLog(t, garbage(1, 6))
	read := func(n int) {
		for range n {
			line, _, err := l.live.r.Next(t.Context())
			must(t, err)
			l.handOut(t.Context(), l.live, line)
		}
		must(t, l.saveCursors())
	}
	read(2)
	read(3)
	read(2)
	all, err := store.LoadDamage(l.cursors)
	must(t, err)
	want := sample.Damage{At: sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 1}}, After: l.live.open.Front().Value.(*push).at.Pos}
	if len(all) != 1 || all[0] != want {
		t.Errorf("%v, want %v", all, want)
	}
}
