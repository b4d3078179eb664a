// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// judged waits until each path has an outcome.
func (l *lab) judged(paths ...string) {
	l.t.Helper()
	l.until(fmt.Sprintf("outcomes of %d paths", len(paths)), func() bool {
		for _, p := range paths {
			if len(outcomesOf(l.outcomes(), p)) == 0 {
				return false
			}
		}
		return true
	})
}

// journalAlone lets a producer alone journal n files, in several segments.
func journalAlone(t *testing.T, n int) (l *lab, paths []string) {
	l = newLab(t)
	l.c.Half, l.c.Journal.CutSize = config.ProducerOnly, 1500
	l.start()
	l.swept()
	for i := range n {
		paths = append(paths, l.write(fmt.Sprint("b", i), "x"))
		l.until("its line", func() bool { return len(l.lines("live")) == 1+i })
	}
	l.halt()
	l.c.Half = config.Both
	return l, paths
}

func (l *lab) sealed() []string {
	l.t.Helper()
	names, err := filepath.Glob(filepath.Join(l.c.State, "journal", "monitor.log.*.log"))
	if err != nil || len(names) < 2 {
		l.t.Fatalf("sealed segments: %q, %v", names, err)
	}
	return names
}

func TestTheSegmentOfTheCursorIsDeleted(t *testing.T) {
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr()), func(c *Config) { c.Journal.CutSize = 1500 })
	l.start()
	l.swept()
	paths := []string{l.write("a", "x")}
	l.await(1)
	l.until("the cursor", func() bool {
		_, err := os.Stat(filepath.Join(l.c.State, "cursors", "clamav.live"))
		return err == nil
	})
	d.Set(scantest.Refuse)
	for i := range 20 {
		paths = append(paths, l.write(fmt.Sprint("b", i), "x"))
		l.until("its line", func() bool { return len(l.lines("live")) == 2+i })
	}
	l.halt()
	if err := os.Remove(l.sealed()[0]); err != nil {
		t.Fatal(err)
	}
	d.Set(scantest.Proper)
	l.start()
	l.judged(paths...)
}

func TestASealedSegmentLostItsEnd(t *testing.T) {
	l, paths := journalAlone(t, 20)
	if err := os.Truncate(l.sealed()[1], 600); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.judged(paths...)
}

// TestCursorsAreDeletedAndTheMarkIsKept: the ledger makes up for cursors that were
// deleted, even if a mark says that not all of the ledger is needed.
func TestCursorsAreDeletedAndTheMarkIsKept(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	for i := range 20 {
		l.write(fmt.Sprint(i), "x")
	}
	l.await(20)
	l.halt()
	for _, lane := range sample.Lanes {
		if err := os.Remove(filepath.Join(l.c.State, "cursors", config.DefaultScanner+"."+lane)); err != nil {
			t.Fatal(err)
		}
	}
	l.start()
	last := l.write("last", "x")
	l.judged(last)
	l.halt()
	if n := len(l.outcomes()); n != 21 {
		t.Errorf("%d outcomes of 21 lines", n)
	}
}

// apart returns a producer and a consumer as they would run in two processes.
func apart(t *testing.T) (w, r *lab) {
	dir := t.TempDir()
	w, r = newLab(t), newLab(t)
	w.c.Half, w.c.Journal.Dir, w.c.State = config.ProducerOnly, dir, filepath.Join(dir, ".certpush")
	r.c.Half, r.c.Journal.Dir, r.c.State, r.c.Trees = config.ConsumerOnly, dir, w.c.State, w.c.Trees
	return w, r
}

// TestApartAnUnreadableLineIsJournaledAgain: the consumer cannot write the journal, so
// it tells the producer in the other process which lines it could not read.
func TestApartAnUnreadableLineIsJournaledAgain(t *testing.T) {
	w, r := apart(t)
	w.start()
	w.swept()
	first, second := w.write("first", "1"), w.write("second", "2")
	w.until("lines", func() bool { return len(w.lines("live")) == 2 })
	w.halt()
	log := filepath.Join(w.c.Journal.Dir, "monitor.log")
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, []byte(strings.Replace(string(text), `"size":1`, `"size":7`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	r.start()
	r.judged(first, second)
	w.until("the damage forgotten", func() bool {
		names, err := filepath.Glob(filepath.Join(w.c.State, "cursors", sample.DamagePrefix+"*"))
		return err == nil && len(names) == 0
	})
}

// TestApartATornTailIsCutOff: a consumer saw a torn tail. When the producer of the
// other process has cut it off, it is gone for the consumer too.
func TestApartATornTailIsCutOff(t *testing.T) {
	w, r := apart(t)
	w.start()
	w.swept()
	r.start()
	r.judged(w.write("p", "x"))
	w.halt()
	f, err := os.OpenFile(filepath.Join(w.c.Journal.Dir, "monitor.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"id":"0123456789abcdef","seen":"2026-`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	// Our own follower hears of the change at about the same time as the consumer's.
	dir, err := journal.OS.OpenFolder(w.c.Journal.Dir)
	must(t, err)
	defer dir.Close()
	heard := journal.NewFollower(dir, "monitor.log")
	changed := heard.Changed()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- journal.Follow(ctx, w.c.Log, heard) }()
	<-changed
	stop()
	must(t, <-ended)
	w.start()
	w.swept()
	var paths []string
	for i := range 3 {
		paths = append(paths, w.write(fmt.Sprint("q", i), "x"))
	}
	r.judged(paths...)
}

// TestTheLedgerHoldsGarbage: a ledger line that is too long finishes nothing, and the
// other lines count.
func TestTheLedgerHoldsGarbage(t *testing.T) {
	l := newLab(t)
	a := l.write("a", "x")
	l.start()
	l.judged(a)
	l.halt()
	led := filepath.Join(l.c.State, "ledger", "verdicts.log")
	text, err := os.ReadFile(led)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(led, append(append(bytes.Repeat([]byte{0}, 3<<20), '\n'), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(l.c.State, "cursors")); err != nil {
		t.Fatal(err)
	}
	b := l.write("b", "x")
	l.start()
	l.judged(b)
	if n := len(outcomesOf(l.outcomes(), a)); n != 1 {
		t.Errorf("%d outcomes of a", n)
	}
}

// TestSlowSamplesKeepNoneWaiting: while samples are slow, others do not wait as long as
// workers are free.
func TestSlowSamplesKeepNoneWaiting(t *testing.T) {
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Workers = 8 }))
	l.start()
	l.swept()
	l.until("up", func() bool { return l.p.Status().Scanners[0].Up })
	d.SetDelay(20 * time.Second)
	for i := range 3 {
		l.write(fmt.Sprint("slow", i), fmt.Sprint(i))
		l.until("it is at the scanner", func() bool {
			return l.p.Status().Scanners[0].InFlight == int64(i+1) && d.Count([]byte(fmt.Sprint(i))) == 1
		})
	}
	d.SetDelay(0)
	begun := time.Now()
	l.judged(l.write("good", "3"))
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it waited %v", took)
	}
	d.Set(scantest.Refuse) // ends the slow ones
}

// TestTreeInTree: if a tree lies in another one, the deeper tree counts.
func TestTreeInTree(t *testing.T) {
	l := newLab(t)
	small := filepath.Join(l.drop, "small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	l.c.Trees = append(l.c.Trees, config.Tree{Path: small, Name: "small", MaxSize: 4})
	l.start()
	l.swept()
	b := l.write("small/b", "longer than four")
	l.judged(b)
	if o := outcomesOf(l.outcomes(), b); o[0].Reason != sample.ReasonTooLarge {
		t.Errorf("%+v", o)
	}
}

func pos(segment uint64, offset int64) journal.Pos {
	return journal.Pos{Segment: segment, Offset: offset}
}

// TestDamageIsToldBeforeTheCursorPasses: wherever the power is cut while damage is
// found and repaired, each file has its outcome in the end. The disk refuses the first
// file that tells damage; it is written later, after cursors were saved.
func TestDamageIsToldBeforeTheCursorPasses(t *testing.T) {
	inMemory(t)
	t.Parallel()
	for _, cause := range []func(text []byte) []byte{badPath, badBytes} {
		refused := false
		for _, w := range unreadable(cause, config.Both, nothing)(t, func(op disktest.Op) error {
			if refused || op.Kind != "create" || !strings.HasPrefix(filepath.Base(op.Path), "damaged-") {
				return nil
			}
			refused = true
			return syscall.EIO
		}) {
			t.Error(w)
		}
		if !refused {
			t.Error("nothing was told")
		}
	}
}

func badPath(text []byte) []byte {
	return bytes.Replace(text, []byte(`"path":"/`), []byte(`"path":"x`), 1)
}

func badBytes(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte(`"size":`), []byte("\x00size\":"))
}

// unreadable is a scene in which lines become unreadable before a consumer read them.
// The index knows their files, so no sweep journals them. finds is the half that runs
// first and finds them; then both halves run.
func unreadable(cause func(text []byte) []byte, finds config.Half, left func(*disktest.Disk) *disktest.Disk) scene {
	return func(t *testing.T, skip func(disktest.Op) error) []string {
		drop := t.TempDir()
		r := newRig(t, drop)
		r.drops(0, 5)
		names := hashes(t, drop)
		r.config.Half = config.ProducerOnly
		r.run(func(p *Pipeline) {
			waitFor(t, "all journaled", func() bool { return taken(p, names) })
			prod := p.halves().producer
			must(t, prod.Index().Sync(t.Context()))
		})
		r.hurt(cause)
		all := r.cuts(func() {
			if r.config.Half = finds; finds == config.ConsumerOnly {
				r.run(func(p *Pipeline) {
					waitFor(t, "all that can be read to be pushed", func() bool {
						s := p.Status()
						return len(s.Scanners) > 0 && r.told.size() > 0 && s.Scanners[0].Waiting == 0
					})
				})
			}
			r.config.Half = config.Both
			r.run(func(p *Pipeline) {
				waitFor(t, "each file's outcome", func() bool { return haveEnded(names, r.told.all()) })
			})
		}, left, skip)
		return firstUnkept(t, drop, all, skip)
	}
}

// hurt damages lines of the journal.
func (r *rig) hurt(cause func(text []byte) []byte) {
	r.t.Helper()
	dir, err := r.files.OpenFolder(rigState + "/journal")
	must(r.t, err)
	entries, err := dir.List()
	must(r.t, err)
	damaged := 0
	for _, e := range entries {
		text, err := journal.LoadText(dir, e.Name())
		must(r.t, err)
		if hurt := cause([]byte(text)); string(hurt) != text {
			f, err := dir.Open(e.Name(), os.O_WRONLY|os.O_TRUNC)
			must(r.t, err)
			_, err = f.Write(hurt)
			must(r.t, errors.Join(err, f.Sync()))
			damaged++
		}
	}
	if damaged == 0 {
		r.t.Fatal("no line is damaged")
	}
}
