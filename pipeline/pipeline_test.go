// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
)

func TestDroppedFileReachesItsVerdict(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	bad := l.write("a/b/c/eicar.com", eicar())
	good := l.write("a/readme", "hello")
	all := l.await(2)
	o := outcomesOf(all, bad)[0]
	sum := sha256.Sum256([]byte(eicar()))
	if o.Outcome != sample.Done || o.Verdict != scan.Malicious || o.Signature == "" || o.SHA256 != hex.EncodeToString(sum[:]) || o.Size != 68 || o.Tries != 1 {
		t.Errorf("EICAR: %+v", o)
	}
	if o := outcomesOf(all, good)[0]; o.Outcome != sample.Done || o.Verdict != scan.Unscanned || o.Reason != "not_listed" {
		t.Errorf("unknown file: %+v", o)
	}
	for _, s := range l.lines("live") {
		if s.Via != sample.ViaEvent {
			t.Errorf("line of %s came by %s", s.Path, s.Via)
		}
	}
	if n := len(l.lines("live")) + len(l.lines("backlog")); n != 2 {
		t.Errorf("%d lines for 2 files", n)
	}
	if got := strings.Count(l.logged(), "msg=malicious"); got != 1 {
		t.Errorf("%d warnings for one malicious verdict", got)
	}
}

// TestRestartPushesNothingTwice: a start pushes nothing from a tree that is known.
func TestRestartPushesNothingTwice(t *testing.T) {
	l := newLab(t)
	for i := range 200 {
		l.write(fmt.Sprintf("d%d/f%d", i%7, i), fmt.Sprint(i))
	}
	l.start()
	l.await(200)
	l.halt()
	l.start()
	l.swept()
	last := l.write("new", "new")
	l.until("the new file", func() bool { return len(outcomesOf(l.outcomes(), last)) == 1 })
	l.halt()
	if got := len(l.outcomes()); got != 201 {
		t.Errorf("%d outcomes for 201 files", got)
	}
	if got := len(l.ledgerLines()); got != 201 {
		t.Errorf("%d ledger lines for 201 files", got)
	}
}

// TestFilesDroppedWhileStopped are found by the sweep at start, in this version and
// once.
func TestFilesDroppedWhileStopped(t *testing.T) {
	l := newLab(t)
	old := l.write("old", "1")
	l.start()
	l.await(1)
	l.halt()
	fresh := l.write("sub/fresh", "2")
	l.write("old", "rewritten")
	l.start()
	all := l.await(3)
	if n := len(outcomesOf(all, old)); n != 2 {
		t.Errorf("%d outcomes for the rewritten file, want one for each version", n)
	}
	if n := len(outcomesOf(all, fresh)); n != 1 {
		t.Errorf("%d outcomes for the fresh file", n)
	}
	for _, s := range l.lines("live") {
		if s.Path == fresh {
			t.Error("a swept file lies in the live lane")
		}
	}
}

func TestStatusAddsUp(t *testing.T) {
	l := newLab(t)
	l.write("a", "1")
	l.write("b", "2")
	l.start()
	l.await(2)
	gone := l.write("gone", "3")
	l.until("its outcome", func() bool { return len(outcomesOf(l.outcomes(), gone)) == 1 })
	s := l.p.Status().Scanners[0]
	if s.Journaled != 3 || s.Done != 3 || s.Waiting != 0 || s.InFlight != 0 || !s.Up {
		t.Errorf("status %+v", s)
	}
	if err := l.p.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	p, err := New(l.c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); !errors.Is(err, ErrLocked) {
		t.Fatalf("second run: %v", err)
	}
}

// TestBrokenIndexIsRebuilt: that costs at most repeated pushes, never a file.
func TestBrokenIndexIsRebuilt(t *testing.T) {
	l := newLab(t)
	l.write("a", "1")
	l.start()
	l.await(1)
	l.halt()
	dir := filepath.Join(l.c.State, "index")
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		if err := os.WriteFile(f, []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := l.write("b", "2")
	l.start()
	l.until("the new file", func() bool { return len(outcomesOf(l.outcomes(), b)) == 1 })
	if aside, _ := filepath.Glob(dir + ".broken-*"); len(aside) != 1 {
		t.Errorf("the broken index was not put aside: %q", aside)
	}
	if n := len(l.lines("live")) + len(l.lines("backlog")); n != 2 {
		t.Errorf("%d lines; the journal knew the first file", n)
	}
}

// TestUnreadableLineIsJournaledAgain: if a disk damages a line, no file is lost.
func TestUnreadableLineIsJournaledAgain(t *testing.T) {
	l := newLab(t)
	l.c.Half = config.ProducerOnly
	first := l.write("first", "1")
	l.start()
	l.until("the line", func() bool { return len(l.lines("backlog")) == 1 })
	l.halt()
	log := filepath.Join(l.c.State, "journal", "backlog.log")
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, []byte(strings.Replace(string(text), `"size":1`, `"size":7`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	l.c.Half = config.Both
	l.start()
	if o := l.await(1)[0]; o.Path != first || o.Outcome != sample.Done {
		t.Errorf("outcome %+v", o)
	}
	if !strings.Contains(l.logged(), "unreadable journal line") {
		t.Error("the damage was not said")
	}
}

// TestDeletedJournal: an operator deleted the journal, or parts of the state. Files may
// be pushed again; none is passed over.
func TestDeletedJournal(t *testing.T) {
	for _, gone := range [][]string{{"journal"}, {"journal", "cursors"}, {"journal", "index"}, {"cursors"}, {"index"}, {"ledger"}, {"cursors", "ledger"}} {
		t.Run(strings.Join(gone, "+"), func(t *testing.T) {
			l := newLab(t)
			l.c.Half = config.ProducerOnly
			for i := range 20 {
				l.write(fmt.Sprintf("before%d", i), fmt.Sprint(i))
			}
			l.start()
			l.until("the lines", func() bool { return len(l.lines("backlog")) == 20 })
			l.halt()
			l.c.Half = config.Both
			for _, name := range gone {
				if err := os.RemoveAll(filepath.Join(l.c.State, name)); err != nil {
					t.Fatal(err)
				}
			}
			after := l.write("after", "after")
			l.start()
			l.until("every file's outcome", func() bool {
				seen := map[string]bool{}
				for _, o := range l.outcomes() {
					if o.Outcome == sample.Done {
						seen[o.Path] = true
					}
				}
				return len(seen) == 21 && seen[after]
			})
			l.halt()
			for _, name := range gone {
				if err := os.RemoveAll(filepath.Join(l.c.State, name)); err != nil {
					t.Fatal(err)
				}
			}
			last := l.write("last", "last")
			l.start()
			l.until("a file after that", func() bool { return len(outcomesOf(l.outcomes(), last)) > 0 })
		})
	}
}

// TestMissingSegment: one of several segments was deleted before it was read.
func TestMissingSegment(t *testing.T) {
	l := newLab(t)
	l.c.Half, l.c.Journal.CutSize = config.ProducerOnly, 1000
	for i := range 40 {
		l.write(fmt.Sprintf("f%d", i), fmt.Sprint(i))
	}
	l.start()
	l.until("the lines", func() bool { return len(l.lines("backlog")) == 40 })
	for i := range 40 {
		l.write(fmt.Sprintf("g%d", i), fmt.Sprint(i))
		l.until("its line", func() bool { return len(l.lines("live")) == i+1 })
	}
	l.halt()
	sealed, _ := filepath.Glob(filepath.Join(l.c.State, "journal", "monitor.log.*.log"))
	if len(sealed) < 3 {
		t.Fatalf("only %d sealed segments", len(sealed))
	}
	if err := os.Remove(sealed[1]); err != nil {
		t.Fatal(err)
	}
	l.c.Half = config.Both
	l.start()
	l.until("every file's outcome", func() bool {
		seen := map[string]bool{}
		for _, o := range l.outcomes() {
			seen[o.Path] = true
		}
		return len(seen) == 80
	})
}

// TestWhatASweepFindsIsPushedMeanwhile: a sweep of many folders finds a file here and
// there. The first of them is judged before the last is found. On a busy machine the
// verdict may be late, so it is tried a few times.
func TestWhatASweepFindsIsPushedMeanwhile(t *testing.T) {
	t.Parallel()
	for try := range 5 {
		if first, last := sweptMeanwhile(t); first.Before(last) {
			return
		} else if try == 4 {
			t.Errorf("the first verdict was given at %v, the last file was found at %v", first, last)
		}
	}
}

// sweptMeanwhile returns when the first verdict was given, and when the last file was
// found.
func sweptMeanwhile(t *testing.T) (first, last time.Time) {
	t.Helper()
	l := newLab(t)
	l.c.Trees[0].Engine = "sweep"
	// Where folders are made slowly they are listed slowly too, so fewer are enough.
	const most, least, files = 10_000, 500, 20
	folders := 0
	for begun := time.Now(); folders < most && (folders < least || time.Since(begun) < 3*time.Second); folders++ {
		must(t, os.Mkdir(filepath.Join(l.drop, fmt.Sprint(folders)), 0o755))
	}
	for i := range files {
		name := fmt.Sprint(i * folders / files)
		l.write(filepath.Join(name, "f"), name)
	}
	l.start()
	var told *Sweeping
	l.until("how far the sweep is", func() bool {
		if s := l.p.Status(); len(s.Trees) > 0 && s.Trees[0].Sweeping != nil && s.Trees[0].Sweeping.Folders > 0 {
			told = s.Trees[0].Sweeping
		}
		return told != nil
	})
	if err := l.p.Ready(); told.Of != 0 || err != nil && !strings.Contains(err.Error(), "folders so far") {
		t.Errorf("%+v, %v", told, err)
	}
	outs := l.await(files)
	lines := l.lines(journal.Backlog)
	if len(lines) != files {
		t.Fatalf("%d lines", len(lines))
	}
	l.swept()
	l.halt()
	l.start()
	l.until("how far the next sweep is", func() bool {
		s := l.p.Status()
		return len(s.Trees) > 0 && s.Trees[0].Sweeping != nil && s.Trees[0].Sweeping.Of == int64(folders+1)
	})
	l.halt()
	first = slices.MinFunc(outs, func(a, b sample.Outcome) int { return a.Time.Compare(b.Time) }).Time
	last = slices.MaxFunc(lines, func(a, b sample.Sample) int { return a.Seen.Compare(b.Seen) }).Seen
	return first, last
}
