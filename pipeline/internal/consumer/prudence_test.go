// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/scan"
)

// TestTheLedgerIsKeptForWhatMayBeTakenBack: no segment goes in which an address, which may
// turn out blind, called something clean since its last good canary.
func TestTheLedgerIsKeptForWhatMayBeTakenBack(t *testing.T) {
	for _, lost := range []bool{false, true} {
		d := disktest.New()
		d.SetFree(1 << 50)
		dirs, err := store.OpenFolders(store.Disk{Disk: d}, "/state", "/state/journal")
		must(t, err)
		const minFree = 256 << 20
		led, err := ledger.Open(d, "/state/ledger", ledger.Bounds{Keep: 400, Max: 20 << 30, MinFree: minFree}, slog.New(slog.DiscardHandler))
		must(t, err)
		c := Config{Dirs: dirs, Ledger: led, Log: slog.New(slog.DiscardHandler)}
		c.Scanner.Name = "one"
		r, err := newRetraction(newBooks(c), c)
		must(t, err)
		r.forget = func(context.Context, string) error { return nil }
		out := func(path string) []sample.Outcome {
			return []sample.Outcome{{Time: time.Now(), Scanner: "one", Path: path, Outcome: sample.Done, Verdict: scan.Clean, Address: "a", At: sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 1, Offset: int64(len(path))}}}}
		}
		must(t, led.Record(out("/srv/before")))
		r.saw("a", scan.Plain, r.mark(), 0)
		must(t, led.Record(out("/srv/given-while-blind")))
		if lost { // it is known to be blind, and the word of that cannot be written
			d.Before = func(op disktest.Op) error {
				if strings.Contains(op.Path, ".back") {
					return syscall.ENOSPC
				}
				return nil
			}
			if _, err := r.retract(t.Context(), "a", scan.Plain, 0, func() error { return nil }); err == nil {
				t.Fatal("no error")
			}
		}
		must(t, led.Cut(time.Now()))
		must(t, led.Record(out("/srv/later-on")))
		saved := led.End() // every cursor is past the first segment
		d.SetFree(minFree)
		must(t, led.Tend(time.Now(), 0, append(r.needs(), saved)))
		d.Before = nil
		n, err := r.retract(t.Context(), "a", scan.Plain, 0, func() error { return nil })
		if must(t, err); n == 0 {
			t.Error("nothing is taken back")
		}
		all, err := store.LoadTakenBack(dirs.Cursors)
		must(t, err)
		var lines []string
		for _, b := range all {
			l, err := b.Lines(dirs.Cursors)
			must(t, err)
			for _, l := range l {
				lines = append(lines, string(l))
			}
		}
		if !strings.Contains(strings.Join(lines, ""), "given-while-blind") {
			t.Errorf("lost %v: not taken back; taken back is %q", lost, lines)
		}
	}
}

// TestNoCursorPassesDamageThatIsFoundMeanwhile: while damage of one lane is told, more is
// found in the other one. Then the power is cut.
func TestNoCursorPassesDamageThatIsFoundMeanwhile(t *testing.T) {
	m := newModel(t, 0)
	c := m.consumers[0]
	m.append(journal.Live)
	m.push(c)
	must(t, c.lines.saveCursors())
	// two bad lines, one in each lane
	bad := func(lane string) journal.Line {
		_, _, err := m.lanes.Lane(lane).Append([]byte("{bad\n"))
		must(t, err)
		line, ok, err := c.lines.lane(lane).r.Next(t.Context())
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		return line
	}
	one, two := bad(journal.Backlog), bad(journal.Live)
	c.lines.handOut(t.Context(), c.lines.backlog, one)
	done := false
	var left *disktest.Disk
	d := m.d
	d.Before = func(op disktest.Op) error {
		if !done && strings.Contains(op.Path, "damaged-backlog") {
			done = true
			c.lines.handOut(t.Context(), c.lines.live, two) // the lane's own goroutine reads on
		}
		return nil
	}
	must(t, c.lines.saveCursors())
	d.Before = nil
	left = d.Cut(0)
	dirs, err := store.OpenFolders(store.Disk{Disk: left}, "/state", "/state/journal")
	must(t, err)
	cur, err := journal.LoadCursor(dirs.Cursors, c.Name(), journal.Live)
	must(t, err)
	all, err := store.LoadDamage(dirs.Cursors)
	must(t, err)
	told := slices.ContainsFunc(all, func(d sample.Damage) bool {
		return d.Holds(sample.At{Lane: journal.Live, Pos: two.At})
	})
	if two.At.Before(cur.Pos) && !told {
		t.Errorf("the cursor on disk is at %s, the bad line at %s is not told: %v", cur.Pos, two.At, all)
	}
}

// TestDamageOutOfOrderIsToldWhole: a gap is read behind what was read before, and so many parts
// wait that the next one joins the last.
func TestDamageOutOfOrderIsToldWhole(t *testing.T) {
	var b badLines
	pos := func(n int64) journal.Pos { return journal.Pos{Segment: 5, Offset: n} }
	for i := range int64(mostUntold) {
		b.add(journal.Live, pos(1000+20*i), pos(1010+20*i))
	}
	b.add(journal.Live, pos(10), pos(500)) // of a gap, whose reader is behind
	for _, at := range []int64{10, 1000 + 20*(mostUntold-1)} {
		if !slices.ContainsFunc(b.untold, func(d sample.Damage) bool { return d.Holds(sample.At{Lane: journal.Live, Pos: pos(at)}) }) {
			t.Errorf("the damage at %d is told by nobody", at)
		}
	}
}

// TestAWrongCanaryIsOnRecordAtTheStop: when it was answered the disk took nothing, and the
// verdicts could not be taken back before the stop.
func TestAWrongCanaryIsOnRecordAtTheStop(t *testing.T) {
	inMemory(t)
	m := newModel(t, 0)
	l := m.consumers[0].lines
	l.saw("a", scan.Depth, l.mark(), 25<<20)
	m.d.Before = func(disktest.Op) error { return syscall.ENOSPC }
	if _, err := l.retract(t.Context(), "a", scan.Depth, 1<<20, func() error { return nil }); err == nil {
		t.Fatal("no error")
	}
	l.trySaving()
	m.d.Before = nil
	l.trySaving() // as the stop does
	m.crash(m.d.Cut(0), false)
	if n, err := store.LoadLost(m.cursors, "one"); n != 1 || err != nil {
		t.Errorf("%d wrong canaries are on record: %v", n, err)
	}
}
