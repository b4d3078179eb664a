// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

func (l *lab) verify(fix bool) Proof {
	l.t.Helper()
	v, err := l.p.Verify(context.Background(), fix)
	if err != nil {
		l.t.Fatal(err)
	}
	return v
}

func TestVerifyCountsEachFile(t *testing.T) {
	d := scantest.Start(t, "tcp")
	d.SetFailOn("bad")
	r := prometheus.NewRegistry()
	l := newLab(t, failing(d), func(c *Config) {
		c.Registry = r
		c.Trees[0].Exclude, c.Trees[0].MaxSize = []string{"**/*.part"}, 100
	})
	l.start()
	l.swept()
	if _, shown := unaccountedShown(t, r); shown {
		t.Error("a number is shown before any verify")
	}
	l.write("a/good", "good")
	l.write("a/bad", "bad")
	l.write("a/large", strings.Repeat("x", 200))
	l.write("a/x.part", "part")
	l.write("empty", "")
	excluded := int64(2)
	if symlink("a/good", filepath.Join(l.drop, "link")) {
		excluded++
	}
	l.await(3)
	v := l.verify(false)
	if v.Files != 3 || v.Done != 1 || v.Dead != 1 || v.Skipped != 1 || v.Waiting != 0 || v.Excluded != excluded || v.Trees != 1 || !v.Proven() {
		t.Errorf("%+v", v)
	}
	if err := l.p.Pause("clam"); err != nil {
		t.Fatal(err)
	}
	l.write("late", "late")
	if v := l.verify(false); v.Files != 4 || v.Waiting != 1 || !v.Proven() {
		t.Errorf("with one that waits: %+v", v)
	}
	if n, shown := unaccountedShown(t, r); !shown || n != 0 {
		t.Errorf("certpush_unaccounted_samples %v %v", n, shown)
	}
}

func unaccountedShown(t *testing.T, r *prometheus.Registry) (float64, bool) {
	t.Helper()
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == "certpush_unaccounted_samples" {
			return m.Metric[0].GetGauge().GetValue(), true
		}
	}
	return 0, false
}

// TestVerifyAtRestFindsWhatIsNotJournaled while nothing runs. A line that is durable
// and not in the index yet counts as journaled.
func TestVerifyAtRestFindsWhatIsNotJournaled(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	l.write("a", "one")
	l.await(1)
	l.halt()
	missed := l.write("sub/missed", "two")
	changed := l.write("a", "another version")
	p, err := New(l.c)
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Verify(context.Background(), false)
	if err != nil || v.Unaccounted != 2 || len(v.List) != 2 || v.Files != 2 || v.Proven() {
		t.Fatalf("%+v %v", v, err)
	}
	if got := map[string]bool{v.List[0].Sample.Path: true, v.List[1].Sample.Path: true}; !got[missed] || !got[changed] {
		t.Errorf("%+v", v.List)
	}
	if _, err := p.Verify(context.Background(), true); err == nil {
		t.Error("what does not run fixes")
	}
	gone := l.c
	gone.Trees = append([]config.Tree{{Name: "gone", Path: filepath.Join(l.drop, "gone")}}, l.c.Trees...)
	if p, err = New(gone); err != nil {
		t.Fatal(err)
	}
	if v, err := p.Verify(context.Background(), false); err != nil || len(v.Missing) != 1 || v.Proven() {
		t.Errorf("a tree that is not there: %+v %v", v, err)
	}
	l.start()
	l.await(3)
	if v := l.verify(false); !v.Proven() || v.Done != 2 {
		t.Errorf("%+v", v)
	}
}

// TestVerifyFixQueuesWhatIsMissing: --fix is for a file that the watcher and each sweep
// miss. Here the test makes the index forget one while the producer runs.
func TestVerifyFixQueuesWhatIsMissing(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	l.write("a", "one")
	lost := l.write("b", "two")
	l.await(2)
	e, _, err := l.p.halves().producer.Index().Get(lost)
	must(t, err)
	must(t, l.p.halves().producer.Index().ForgetLine(t.Context(), lost, e.At))
	v := l.verify(false)
	if v.Unaccounted != 1 || len(v.List) != 1 || v.List[0].Sample.Path != lost || v.Queued != 0 || v.Done != 1 {
		t.Fatalf("%+v", v)
	}
	if v = l.verify(true); v.Unaccounted != 1 || v.Queued != 1 {
		t.Fatalf("%+v", v)
	}
	if o := l.await(3)[2]; o.Path != lost {
		t.Errorf("%+v", o)
	}
	if s := l.why(lost); len(s.Lines) != 2 || s.Lines[1].Sample.Via != sample.ViaManual || s.Lines[1].Sample.For != "" {
		t.Errorf("%+v", s.Lines)
	}
	if v = l.verify(true); !v.Proven() || v.Queued != 0 || v.Done != 2 {
		t.Errorf("%+v", v)
	}
}

// TestVerifyFixCountsFiles: a file that two scanners lack is one file to journal again.
func TestVerifyFixCountsFiles(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Scanners = []config.Scanner{{Name: "one", Type: "discard"}, {Name: "two", Type: "discard"}}
	})
	l.start()
	l.swept()
	lost := l.write("a", "one")
	l.await(2)
	e, _, err := l.p.halves().producer.Index().Get(lost)
	must(t, err)
	must(t, l.p.halves().producer.Index().ForgetLine(t.Context(), lost, e.At))
	if v := l.verify(true); v.Unaccounted != 2 || v.Lacking != 1 || v.Queued != 1 || v.Files != 1 {
		t.Errorf("%+v", v)
	}
	l.await(4)
	if v := l.verify(false); !v.Proven() || v.Lacking != 0 {
		t.Errorf("%+v", v)
	}
}

// TestVerifyMissesALostSegment: an operator deleted a segment before the scanner came
// to it. Index and cursor know the file, and nothing will push it.
func TestVerifyMissesALostSegment(t *testing.T) {
	d := scantest.Start(t, "tcp")
	l := newLab(t, failing(d))
	l.start()
	l.swept()
	if err := l.p.Pause("clam"); err != nil {
		t.Fatal(err)
	}
	l.write("a", "one")
	l.until("a line", func() bool { return len(l.lines("live")) == 1 })
	if err := l.p.halves().lanes.Lane(journal.Live).Cut(time.Now()); err != nil {
		t.Fatal(err)
	}
	l.write("b", "two")
	l.until("a line", func() bool { return len(l.lines("live")) == 2 })
	l.halt()
	sealed, _ := filepath.Glob(filepath.Join(l.c.State, "journal", "monitor.log.*"))
	if len(sealed) != 1 {
		t.Fatal(sealed)
	}
	if err := os.Remove(sealed[0]); err != nil {
		t.Fatal(err)
	}
	p, err := New(l.c)
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Verify(context.Background(), false)
	if err != nil || v.Unaccounted != 1 || v.Waiting != 1 || filepath.Base(v.List[0].Sample.Path) != "a" || v.List[0].Scanner != "clam" {
		t.Fatalf("%+v %v", v, err)
	}
	if err := os.Remove(filepath.Join(l.c.State, "cursors", "clam.paused")); err != nil {
		t.Fatal(err)
	}
	l.start() // a start repairs this by itself
	l.await(2)
	l.until("the proof", func() bool { return l.verify(false).Proven() })
	if d.Count([]byte("one")) != 1 {
		t.Errorf("a was pushed %d times", d.Count([]byte("one")))
	}
}

// TestVerifyOfATreeInATree: each file counts once.
func TestVerifyOfATreeInATree(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Trees = append(c.Trees, config.Tree{Name: "inner", Path: filepath.Join(c.Trees[0].Path, "in", "ner")})
	})
	l.write("in/ner/a", "one")
	l.write("in/b", "two")
	l.start()
	l.await(2)
	if v := l.verify(false); v.Files != 2 || v.Done != 2 || v.Trees != 2 || !v.Proven() {
		t.Errorf("%+v", v)
	}
}

func TestVerifyOfWhatAnotherProcessWatches(t *testing.T) {
	l := newLab(t)
	l.c.Half = config.ProducerOnly
	l.start()
	l.write("a", "one")
	l.until("a line", func() bool { return len(l.lines("live"))+len(l.lines("backlog")) == 1 })
	if v := l.verify(false); v.Waiting != 1 || !v.Proven() {
		t.Errorf("before any push: %+v", v)
	}
	c := l.c
	c.Half = config.ConsumerOnly
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer runIt(t, p)()
	l.await(1)
	if _, err := p.Verify(context.Background(), false); !errors.Is(err, errNoProducer) {
		t.Errorf("%v", err)
	}
	l.until("the outcome in the proof", func() bool { v := l.verify(false); return v.Done == 1 && v.Proven() })
}

// TestVerifyTakesTheLedgersWordForADamagedLine: if a line cannot be read any more, only
// its outcome in the ledger is a proof. A cursor behind it is not.
func TestVerifyTakesTheLedgersWordForADamagedLine(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	l.judged(l.write("a", "x"))
	at := l.outcomes()[0].At
	l.judged(l.write("b", "y")) // moves the cursor past the first line
	l.halt()
	p, err := New(l.c)
	must(t, err)
	cursors, err := p.c.disk.OpenFolder(filepath.Join(l.c.State, "cursors"))
	must(t, err)
	must(t, store.SaveDamage(cursors, sample.Damage{At: at, After: pos(at.Segment, at.Offset+1)}))
	must(t, cursors.Close()) // Windows removes no open folder
	proof := func() Proof {
		v, err := p.Verify(t.Context(), false)
		must(t, err)
		return v
	}
	if v := proof(); !v.Proven() || v.Done != 2 {
		t.Errorf("with its outcome: %+v", v)
	}
	must(t, os.Remove(filepath.Join(l.c.State, "ledger", ledger.Base)))
	if v := proof(); v.Unaccounted != 1 || v.Done != 1 {
		t.Errorf("without: %+v", v)
	}
}
