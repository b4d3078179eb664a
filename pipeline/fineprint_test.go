// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
)

// The tests for the ten points of the fine print in DESIGN.

// 1. A sample that no longer matches its line is skipped, with the reason changed. If
// the producer runs in the same process, the path settles again, so the new version
// gets its own line.
func TestFinePrint01Changed(t *testing.T) {
	l := newLab(t)
	path := l.write("a", "first")
	l.c.Half = config.ProducerOnly
	l.start()
	l.until("the line", func() bool { return len(l.lines("backlog")) == 1 })
	l.halt()
	l.write("a", "second version")
	l.c.Half = config.Both
	l.start()
	all := outcomesOf(l.await(2), path)
	var changed, done int
	for _, o := range all {
		switch {
		case o.Outcome == sample.Skipped && o.Reason == sample.ReasonChanged && o.Verdict == "":
			changed++
		case o.Outcome == sample.Done && o.Size == int64(len("second version")):
			done++
		}
	}
	if changed != 1 || done != 1 {
		t.Errorf("outcomes %+v", all)
	}
}

// 2. A file that is written for a while is journaled once, whole, soon after its
// writer closed it.
func TestFinePrint02Settling(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	path := filepath.Join(l.drop, "slow")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := fmt.Fprintf(f, "part %d\n", i); err != nil {
			t.Fatal(err)
		}
		other := l.write(fmt.Sprintf("beside%d", i), "x")
		l.until("a file beside it", func() bool { return len(outcomesOf(l.outcomes(), other)) == 1 })
	}
	if n := len(outcomesOf(l.outcomes(), path)); n != 0 {
		t.Fatalf("%d outcomes while it was written", n)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l.until("its outcome", func() bool { return len(outcomesOf(l.outcomes(), path)) > 0 })
	l.halt()
	if all := outcomesOf(l.outcomes(), path); len(all) != 1 || all[0].Size != 150 {
		t.Errorf("outcomes %+v", all)
	}
}

// 4. The hash list never says clean.
func TestFinePrint04NeverCleanByDefault(t *testing.T) {
	l := newLab(t)
	list := filepath.Join(t.TempDir(), "known")
	if err := os.WriteFile(list, []byte("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824  Greeting\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.c.Scanners = []config.Scanner{{Type: "hashlist", Lists: []string{list}}}
	listed := l.write("listed", "hello")
	other := l.write("other", "hello!")
	empty := l.write("sub/one", "1")
	l.start()
	all := l.await(3)
	if o := outcomesOf(all, listed)[0]; o.Verdict != scan.Malicious || o.Signature != "Greeting" {
		t.Errorf("listed: %+v", o)
	}
	for _, path := range []string{other, empty} {
		if o := outcomesOf(all, path)[0]; o.Verdict != scan.Unscanned || o.Reason != "not_listed" {
			t.Errorf("not listed: %+v", o)
		}
	}
}

// 5. A path is forgotten only if its folder was listed to the end, on the device that
// the index noted. An empty mount point is not an empty tree.
func TestFinePrint05IndexAndSweep(t *testing.T) {
	l := newLab(t)
	a, b := l.write("keep/a", "1"), l.write("gone/b", "2")
	l.start()
	l.await(2)
	l.swept()
	x := l.p.halves().producer.Index()
	knows := func(path string) bool {
		_, ok, err := x.Get(path)
		return ok && err == nil
	}
	sweep := func() {
		t.Helper()
		before := *l.p.Status().Trees[0].LastSweep
		if err := l.p.Sweep(""); err != nil {
			t.Fatal(err)
		}
		l.until("a sweep", func() bool { return l.p.Status().Trees[0].LastSweep.After(before) })
	}
	sweep()
	if !knows(a) || !knows(b) {
		t.Fatal("a sweep forgot what is there")
	}
	if err := x.SetDevice(t.Context(), l.drop, "another"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(b)); err != nil {
		t.Fatal(err)
	}
	sweep()
	if !knows(b) {
		t.Fatal("a path was forgotten on another device than the one noted")
	}
	sweep() // the first sweep found files there and noted the device
	if knows(b) {
		t.Error("a path that is gone was not forgotten")
	}
	if !knows(a) {
		t.Error("a path that is there was forgotten")
	}
	if m := x.Marks(); m[journal.Backlog] == (journal.Pos{}) && m[journal.Live] == (journal.Pos{}) {
		l.until("a mark on disk", func() bool {
			m := x.Marks()
			return m[journal.Backlog] != (journal.Pos{}) || m[journal.Live] != (journal.Pos{})
		})
	}
}

// 6. watch and push may be two processes. Only the process that holds the producer's
// lock writes the journal. The other one hears of its lines.
func TestFinePrint06TwoProcesses(t *testing.T) {
	dir := t.TempDir()
	w := newLab(t)
	w.c.Half, w.c.Journal.Dir, w.c.State = config.ProducerOnly, dir, filepath.Join(dir, ".certpush")
	r := newLab(t)
	r.c.Half, r.c.Journal.Dir, r.c.State, r.c.Trees = config.ConsumerOnly, dir, w.c.State, w.c.Trees
	r.start()
	w.start()
	w.swept()
	for i := range 20 {
		path := w.write(fmt.Sprintf("f%d", i), fmt.Sprint(i))
		r.until("its outcome", func() bool { return len(outcomesOf(r.outcomes(), path)) == 1 })
		if i == 10 {
			w.halt()
			w.start()
			w.swept()
		}
	}
	if p, err := New(r.c); err != nil {
		t.Fatal(err)
	} else if err := p.Run(t.Context()); !errors.Is(err, ErrLocked) {
		t.Errorf("a second consumer: %v", err)
	}
	r.halt()
	r.start()
	path := w.write("last", "last")
	r.until("its outcome", func() bool { return len(outcomesOf(r.outcomes(), path)) == 1 })
	r.halt()
	if n := len(r.ledgerLines()); n != 21 {
		t.Errorf("%d ledger lines for 21 files", n)
	}
}

// 7. A folder that another program writes: bare paths, no headers. If no tree is
// configured, paths are opened beneath /. If one is, paths outside it are skipped.
func TestFinePrint07ForeignLogs(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t)
	in := l.write("in", "1")
	out := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(out, []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, linked := filepath.Join(l.drop, "link"), "skipped symlink"
	if !symlink(out, link) {
		linked = "gone"
	}
	log := filepath.Join(dir, "monitor.log")
	if err := os.WriteFile(log, []byte(in+"\n"+out+"\n"+link+"\n"+filepath.Join(l.drop, "never")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.c.Half, l.c.Journal.Dir, l.c.State = config.ConsumerOnly, dir, filepath.Join(dir, ".certpush")
	l.start()
	all := l.await(4)
	for path, want := range map[string]string{in: "done", out: "skipped outside", link: linked, filepath.Join(l.drop, "never"): "gone"} {
		o := outcomesOf(all, path)
		if len(o) != 1 || !strings.HasPrefix(o[0].Outcome+" "+o[0].Reason, want) {
			t.Errorf("%s: %+v, want %s", path, o, want)
		}
	}
	// The other program cuts its log and goes on.
	if err := os.Rename(log, log+".20261122-1200.log"); err != nil {
		t.Fatal(err)
	}
	more := l.write("more", "3")
	if err := os.WriteFile(log, []byte(more+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.until("the line after the cut", func() bool { return len(outcomesOf(l.outcomes(), more)) == 1 })
	l.halt()
	l.c.Trees, l.c.State = nil, filepath.Join(t.TempDir(), "other")
	l.outs = nil
	l.start()
	if o := outcomesOf(l.await(5), out); len(o) != 1 || o[0].Outcome != sample.Done {
		t.Errorf("without a tree: %+v", o)
	}
}

// 8. Below min_free intake stops and says so, and pushing goes on. When there is room
// again, a sweep takes in the missed files. While the ledger cannot be written
// pushing stops, and the workers hold their verdicts.
func TestFinePrint08NoRoom(t *testing.T) {
	const minFree = 1 << 20
	d := &scarce{Disk: journal.OS}
	d.free.Store(2 * minFree)
	l := newLab(t, func(c *Config) {
		c.Journal.MinFree = minFree
		c.disk = store.Disk{Disk: d, Pebble: vfs.Default}
	})
	l.start()
	l.swept()
	d.free.Store(minFree - 1)
	l.until("not ready for want of room", func() bool {
		err := l.p.Ready()
		return err != nil && strings.Contains(err.Error(), "intake is stopped: 0 MiB are free")
	})
	path := l.write("waits", "1")
	if n := len(l.lines("live")); n != 0 {
		t.Errorf("%d lines without room", n)
	}
	d.free.Store(2 * minFree)
	l.until("its outcome once there is room", func() bool { return len(outcomesOf(l.outcomes(), path)) == 1 })
	l.until("ready", func() bool { return l.p.Ready() == nil })
	for _, want := range []string{"intake stops", "intake goes on"} {
		if !strings.Contains(l.logged(), want) {
			t.Errorf("not said: %s", want)
		}
	}
	must(t, l.p.halves().ledger.Close())
	for i := range 5 {
		l.write(fmt.Sprintf("held%d", i), "1")
	}
	l.until("both workers held, all waiting", func() bool {
		s := l.p.Status().Scanners[0]
		return s.Waiting == 5 && s.InFlight == 2 && strings.Contains(l.logged(), "ledger cannot be written")
	})
}

// scarce is a disk on which the test sets how much room there is.
type scarce struct {
	journal.Disk
	free atomic.Int64
}

func (d *scarce) OpenFolder(dir string) (journal.Folder, error) {
	f, err := d.Disk.OpenFolder(dir)
	return scarceFolder{f, d}, err
}

type scarceFolder struct {
	journal.Folder
	d *scarce
}

func (f scarceFolder) Free() (int64, error) { return f.d.free.Load(), nil }

// 9. Manual lines are appended. With `for` they are for one scanner: the others pass
// over them and do not count them. Nothing rewrites a line.
func TestFinePrint09Again(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Scanners = []config.Scanner{{Name: "one", Type: "discard"}, {Name: "two", Type: "discard"}}
	})
	path := l.write("a", "1")
	l.start()
	l.await(2)
	s := l.lines("backlog")[0]
	before, err := read(filepath.Join(l.c.State, "journal", "backlog.log"))
	if err != nil {
		t.Fatal(err)
	}
	s.Via, s.For, s.Seen = sample.ViaManual, "two", time.Now()
	if _, _, err := l.p.halves().lanes.Lane(journal.Backlog).Append(sample.AppendLine(nil, s)); err != nil {
		t.Fatal(err)
	}
	all := l.await(3)
	if o := all[2]; o.Scanner != "two" || o.Path != path {
		t.Errorf("manual line: %+v", o)
	}
	l.until("both up to date", func() bool {
		st := l.p.Status().Scanners
		return st[0].Journaled == 1 && st[1].Journaled == 2 && st[0].Waiting == 0 && st[1].Waiting == 0
	})
	after, err := read(filepath.Join(l.c.State, "journal", "backlog.log"))
	if err != nil || !strings.HasPrefix(string(after), string(before)) {
		t.Error("a line was rewritten")
	}
}

// 10. A sample is never altered, and each malicious verdict is one warning.
func TestFinePrint10NeverAltered(t *testing.T) {
	l := newLab(t)
	path := l.write("evil", eicar())
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	l.start()
	if o := l.await(1)[0]; o.Verdict != scan.Malicious {
		t.Fatalf("outcome %+v", o)
	}
	l.halt()
	after, err := os.Stat(path)
	if err != nil || after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime()) || !os.SameFile(before, after) {
		t.Errorf("the sample was altered: %v, %v", after, err)
	}
	if text, err := os.ReadFile(path); string(text) != eicar() || err != nil {
		t.Errorf("its bytes changed: %v", err)
	}
	if n := strings.Count(l.logged(), "msg=malicious"); n != 1 {
		t.Errorf("%d warnings", n)
	}
}

// TestStopIsBounded: a stop gives back the samples that it cannot finish in time.
func TestStopIsBounded(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	begun := time.Now()
	l.halt()
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("an idle stop took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := New(l.c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(ctx); err != nil {
		t.Errorf("run with an ended context: %v", err)
	}
}
