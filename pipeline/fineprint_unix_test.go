// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pipeline

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// 1. A sample changes while the scanner has its descriptor: there is no verdict, and
// the new version is pushed. No event tells of it here, so the consumer gives the
// path back to settle.
func TestFinePrint01ChangedWhileTheScannerLooks(t *testing.T) {
	d := scantest.Start(t, "unix")
	l := newLab(t, clamd(d.Addr()))
	l.c.Trees[0].Engine = "sweep"
	d.SetDelay(300 * time.Millisecond)
	path := l.write("a", "first")
	l.start()
	l.until("it is at the scanner", func() bool { return d.Count([]byte("first")) == 1 })
	l.write("a", "second version")
	all := outcomesOf(l.await(2), path)
	if o := all[0]; o.Outcome != sample.Skipped || o.Reason != sample.ReasonChanged || o.Verdict != "" || o.SHA256 != "" {
		t.Errorf("first version: %+v", o)
	}
	if o := all[1]; o.Outcome != sample.Done || o.Size != int64(len("second version")) {
		t.Errorf("second version: %+v", o)
	}
}

// 2. Another program's lease means "not yet" in the consumer too.
func TestFinePrint02LeaseInTheConsumer(t *testing.T) {
	l := newLab(t)
	other := l.write("b", "y")
	l.c.Half = config.ProducerOnly
	l.start()
	l.until("its line", func() bool { return len(l.lines("backlog")) == 1 })
	path := l.write("a", "x")
	l.until("a line of the lane that goes first", func() bool { return len(l.lines("live")) == 1 })
	l.halt()
	letGo := hold(t, path)
	l.c.Half = config.ConsumerOnly
	l.c.Scanners = []config.Scanner{{Name: "hashlist", Type: "hashlist", Workers: 1}} // one after the other
	l.start()
	l.judged(other)
	if all := outcomesOf(l.outcomes(), path); len(all) != 0 {
		t.Fatalf("%+v under another's lease", all)
	}
	letGo()
	l.judged(path)
	if o := outcomesOf(l.outcomes(), path)[0]; o.Outcome != sample.Done || o.Tries != 1 {
		t.Errorf("%+v", o)
	}
}

// 2. If another program never lets go of a file, its line ends nevertheless. The path
// settles again, and is pushed when the holder lets go. If the producer is another
// process, it becomes a dead letter.
func TestFinePrint02ALeaseThatIsHeld(t *testing.T) {
	for _, half := range []config.Half{config.Both, config.ConsumerOnly} {
		l := newLab(t)
		l.c.Trees[0].SettleLimit = 300 * time.Millisecond
		l.c.Scanners = []config.Scanner{{Type: "hashlist", BackoffFirst: 20 * time.Millisecond, BackoffMax: 50 * time.Millisecond}}
		path := l.write("a", "x")
		l.c.Half = config.ProducerOnly
		l.start()
		l.until("its line", func() bool { return len(l.lines("backlog")) == 1 })
		l.halt()
		letGo := hold(t, path)
		l.c.Half = half
		l.start()
		o := l.await(1)[0]
		if half == config.ConsumerOnly {
			if o.Outcome != sample.Dead || o.Reason != sample.ReasonBusy {
				t.Errorf("apart: %+v", o)
			}
			l.halt()
			continue
		}
		if o.Outcome != sample.Skipped || o.Reason != sample.ReasonBusy {
			t.Errorf("%+v", o)
		}
		letGo()
		l.until("its push", func() bool { all := l.outcomes(); return all[len(all)-1].Outcome == sample.Done })
		l.halt()
	}
}

// 3. A failed try counts only if the same scanner has judged something since.
func TestFinePrint03NoTryCountsWithoutProof(t *testing.T) {
	d := scantest.Start(t, "unix")
	l := newLab(t, clamd(d.Addr()))
	l.start()
	l.swept()
	l.until("up", func() bool { return l.p.Status().Scanners[0].Up })
	d.Set(scantest.Fail)
	for i := range 3 {
		l.write(fmt.Sprint(i), fmt.Sprint("sample ", i))
	}
	// The canary is the proof that the fault is not the scanner's. Here it fails.
	l.until("the canary failed", func() bool {
		return strings.Contains(l.logged(), "scanner is sick") || strings.Contains(l.logged(), "scanner is down") || len(l.outcomes()) > 0
	})
	if n := len(l.outcomes()); n != 0 {
		t.Fatalf("%+v", l.outcomes()[0])
	}
	d.Set(scantest.Proper)
	for _, o := range l.await(3) {
		if o.Outcome != sample.Done || o.Verdict != scan.Clean {
			t.Errorf("%+v", o)
		}
	}
}

// 6. There are locks in the journal folder too: with another state folder a second
// consumer is refused as well.
func TestFinePrint06LockOfTheJournalFolder(t *testing.T) {
	w, r := apart(t)
	w.start()
	w.swept()
	r.start()
	r.judged(w.write("a", "x"))
	for _, half := range []config.Half{config.ConsumerOnly, config.ProducerOnly} {
		c := r.c
		c.State, c.Half = filepath.Join(t.TempDir(), "another"), half
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Run(t.Context()); !errors.Is(err, ErrLocked) {
			t.Errorf("half %d: %v", half, err)
		}
	}
}

// 6. A reader in another process syncs a segment before it returns lines of it.
func TestFinePrint06LinesAreSyncedBeforeTheyAreHandedOut(t *testing.T) {
	d := disktest.New()
	dir, err := d.OpenFolder("/journal")
	if err != nil {
		t.Fatal(err)
	}
	f, err := dir.Open("monitor.log", os.O_CREATE|os.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("/a\n")); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	r, err := journal.NewReader(dir, "monitor.log", journal.Pos{}, journal.NewFollower(dir, "monitor.log"), log)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if line, ok, err := r.Next(t.Context()); string(line.Text) != "/a" || !ok || err != nil {
		t.Fatalf("%q %v %v", line.Text, ok, err)
	}
	after, err := d.Cut(0).OpenFolder("/journal")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := journal.LoadText(after, "monitor.log"); text != "/a\n" {
		t.Errorf("after a power cut: %q %v", text, err)
	}
}

// 8. Below min_free finished segments within keep are pruned first, then intake stops.
// When there is room again, a sweep takes in files of which no event tells.
func TestFinePrint08RoomComesAndGoes(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.config.Journal.Keep, r.config.Trees[0].Engine = 1000, "sweep"
	r.drops(0, 10)
	r.run(func(p *Pipeline) {
		r.allEnded(p, 10)
		lanes := p.halves().lanes
		waitFor(t, "the cursor at the end", func() bool {
			at, err := journal.LoadCursor(r.cursors(), "clamav", journal.Backlog)
			return err == nil && at.Pos == lanes.Lane(journal.Backlog).Durable()
		})
		for range 4 {
			n := r.told.size()
			r.drops(n, 1) // no event and no clock tells of it
			if err := p.Sweep(""); err != nil {
				t.Fatal(err)
			}
			r.allEnded(p, n+1)
			waitFor(t, "a cut", func() bool { return lanes.Lane(journal.Backlog).Cut(time.Now()) == nil })
		}
		sealed := func() (n int) {
			dir, err := r.files.OpenFolder(rigState + "/journal")
			if err != nil {
				t.Fatal(err)
			}
			names, err := journal.Segments(dir, journal.Base(journal.Backlog))
			if err != nil {
				t.Fatal(err)
			}
			return len(names) - 1
		}
		if sealed() < 4 {
			t.Fatalf("%d sealed segments", sealed())
		}
		n := r.told.size()
		r.files.SetFree(1 << 20)
		waitFor(t, "intake stopped", func() bool { err := p.Ready(); return err != nil && strings.Contains(err.Error(), "intake is stopped") })
		waitFor(t, "segments pruned", func() bool { return sealed() <= 2 })
		r.drops(n, 1) // no event and no clock tells of it
		r.files.SetFree(1 << 40)
		r.allEnded(p, n+1)
	})
}

// 8. For want of room the cache of verdicts goes first, then what is old of the ledger.
func TestFinePrint08TheCacheGoesFirst(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.config.Scanners[0].Cache, r.config.Ledger.Keep, r.config.Ledger.Max = time.Hour, 1000, -1
	r.drops(0, 3)
	r.run(func(p *Pipeline) {
		r.allEnded(p, 3)
		r.files.SetFree(1 << 20)
		waitFor(t, "old outcomes deleted", func() bool { return strings.Contains(r.logged(), "old segments of the ledger are deleted") })
		if before, _, ok := strings.Cut(r.logged(), "old segments of the ledger are deleted"); !ok || !strings.Contains(before, "the cache of verdicts is emptied") {
			t.Error("the cache did not go first")
		}
	})
}
