// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

func (l *lab) dead() []DeadLetter {
	l.t.Helper()
	all, err := l.p.Dead(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

func TestDeadLettersAreListedRetriedAndDropped(t *testing.T) {
	d := scantest.Start(t, "tcp")
	d.SetFailOn("bad")
	l := newLab(t, failing(d))
	l.start()
	l.swept()
	one := l.write("one", "bad one")
	l.await(1)
	two := l.write("two", "bad two")
	l.write("fine", "fine")
	l.await(3)
	all := l.dead()
	if len(all) != 2 || all[0].Outcome.Path != one || all[1].Outcome.Path != two || all[0].Again || all[0].Outcome.Tries != 2 {
		t.Fatalf("%+v", all)
	}
	if _, _, err := l.p.Retry(context.Background(), "0123456789abcdef"); err == nil {
		t.Error("an id that nobody has is accepted")
	}
	// The retry fails too. The sample stays a dead letter, and is now the newest one.
	if n, unable, err := l.p.Retry(context.Background(), all[0].ID()); n != 1 || unable != 0 || err != nil {
		t.Fatal(n, unable, err)
	}
	l.await(4)
	if again := l.dead(); len(again) != 2 || again[1].Outcome.Path != one || again[1].Again || again[1].ID() != all[0].ID() {
		t.Fatalf("%+v", again)
	}
	// Now the scanner works again.
	d.SetFailOn("")
	if n, err := l.p.Drop(context.Background(), all[1].ID()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if left := l.dead(); len(left) != 1 || left[0].Outcome.Path != one {
		t.Fatalf("after the drop: %+v", left)
	}
	if n, _, err := l.p.Retry(context.Background(), ""); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	l.await(5)
	if left := l.dead(); len(left) != 0 {
		t.Fatalf("%+v", left)
	}
	// All of that is recorded: after a restart it is still known, and nothing is pushed
	// again.
	l.halt()
	l.start()
	l.swept()
	if left := l.dead(); len(left) != 0 || len(l.outcomes()) != 5 {
		t.Fatalf("%+v %+v", left, l.outcomes())
	}
	if v, err := l.p.Verify(context.Background(), false); err != nil || v.Dead != 0 || v.Done != 2 || v.Skipped != 1 || !v.Proven() {
		t.Errorf("%+v %v", v, err)
	}
	if d.Count([]byte("bad one")) != 5 {
		t.Errorf("pushed %d times, want 2, 2 and 1", d.Count([]byte("bad one")))
	}
}

// TestTheStatusCountsTheDeadLettersThatAreThere: also those from before the start, and not
// those that were dropped or judged since.
func TestTheStatusCountsTheDeadLettersThatAreThere(t *testing.T) {
	d := scantest.Start(t, "tcp")
	d.SetFailOn("bad")
	l := newLab(t, failing(d))
	l.start()
	l.swept()
	there := func(want int64) {
		t.Helper()
		l.until(fmt.Sprintf("%d dead letters", want), func() bool { return l.p.Status().Scanners[0].DeadLetters == want })
	}
	there(0)
	l.write("one", "bad one")
	l.write("two", "bad two")
	l.await(2)
	there(2)
	l.halt()
	l.start()
	l.swept()
	there(2)
	if s := l.p.Status().Scanners[0]; s.Dead != 0 {
		t.Errorf("%d dead since the start", s.Dead)
	}
	if n, err := l.p.Drop(context.Background(), l.dead()[0].ID()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	there(1)
	d.SetFailOn("")
	if n, _, err := l.p.Retry(context.Background(), ""); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	there(0)
}

// TestRetryOnce: a letter that waits again says so, and is not journaled twice.
func TestRetryOnce(t *testing.T) {
	d := scantest.Start(t, "tcp")
	d.SetFailOn("bad")
	l := newLab(t, failing(d))
	l.start()
	l.swept()
	l.write("one", "bad one")
	l.await(1)
	if err := l.p.Pause("clam"); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{1, 0} {
		if n, _, err := l.p.Retry(context.Background(), ""); n != want || err != nil {
			t.Fatal(i, n, err)
		}
	}
	if all := l.dead(); len(all) != 1 || !all[0].Again {
		t.Fatalf("%+v", all)
	}
	if err := l.p.Resume("clam"); err != nil {
		t.Fatal(err)
	}
	l.await(2)
}

// TestRetryIsForItsScannerAlone: the other scanner has its outcome and does not get the
// sample again.
func TestRetryIsForItsScannerAlone(t *testing.T) {
	bad, good := scantest.Start(t, "tcp"), scantest.Start(t, "tcp")
	bad.SetFailOn("bad")
	l := newLab(t, failing(bad), func(c *Config) {
		c.Scanners = append(c.Scanners, config.Scanner{Name: "good", Addresses: []string{good.Addr()}})
	})
	l.start()
	l.swept()
	l.write("one", "bad one")
	l.await(2)
	if _, _, err := l.p.Retry(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	l.await(3)
	l.until("nothing waits", func() bool {
		s := l.p.Status().Scanners
		return s[0].Waiting == 0 && s[1].Waiting == 0
	})
	if good.Count([]byte("bad one")) != 1 || bad.Count([]byte("bad one")) != 4 {
		t.Errorf("good was asked %d times, bad %d times", good.Count([]byte("bad one")), bad.Count([]byte("bad one")))
	}
	for _, s := range l.p.Status().Scanners {
		if s.Journaled != s.Done+s.Gone+s.Skipped+s.Dead+s.Waiting {
			t.Errorf("%+v", s)
		}
	}
}

func TestRetryOfABarePathAndOfAFileThatIsGone(t *testing.T) {
	d := scantest.Start(t, "tcp")
	d.SetFailOn("bad")
	l := newLab(t, failing(d), func(c *Config) {
		c.Trees[0].Exclude = []string{"out/**"} // only bare lines name the files there
	})
	bare, gone := l.write("out/bare", "bad bare"), l.write("out/gone", "bad gone")
	l.start()
	l.swept()
	f, err := os.OpenFile(filepath.Join(l.c.State, "journal", "monitor.log"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(bare + "\n" + gone + "\n"); err != nil {
		t.Fatal(err)
	}
	l.await(2)
	all := l.dead()
	if len(all) != 2 || all[0].ID() != all[0].Outcome.At.String() {
		t.Fatalf("%+v", all)
	}
	d.SetFailOn("")
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if n, unable, err := l.p.Retry(context.Background(), ""); n != 1 || unable != 1 || err != nil {
		t.Fatal(n, unable, err)
	}
	l.await(3)
	left := l.dead()
	if len(left) != 1 || left[0].Outcome.Path != gone {
		t.Fatalf("%+v", left)
	}
	if n, err := l.p.Drop(context.Background(), left[0].ID()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if left := l.dead(); len(left) != 0 {
		t.Fatalf("%+v", left)
	}
}

func TestPausedScannerWaitsOverARestart(t *testing.T) {
	d := scantest.Start(t, "tcp")
	l := newLab(t, failing(d))
	l.start()
	l.swept()
	l.until("the scanner", func() bool { return l.p.Status().Scanners[0].Up })
	if err := l.p.Pause("other"); err == nil {
		t.Error("a scanner that is not there is paused")
	}
	if err := l.p.Pause("clam"); err != nil {
		t.Fatal(err)
	}
	l.write("a", "one")
	waits := func() bool { s := l.p.Status().Scanners[0]; return s.Paused && s.Waiting == 1 }
	l.until("a sample that waits", waits)
	l.halt()
	l.start()
	l.swept()
	l.until("a sample that waits", waits)
	if err := l.p.Ready(); err != nil {
		t.Errorf("not ready, and its samples wait as they were told to: %v", err)
	}
	if d.Count([]byte("one")) != 0 || l.p.Status().Scanners[0].Up {
		t.Error("a paused scanner was asked")
	}
	if err := l.p.Resume("clam"); err != nil {
		t.Fatal(err)
	}
	l.await(1)
	l.halt()
	l.start()
	l.write("b", "two")
	l.await(2)
}

func TestCachedVerdictHoldsForBytesScannerVersionAndTime(t *testing.T) {
	d := scantest.Start(t, "tcp")
	l := newLab(t, failing(d), func(c *Config) { c.Scanners[0].Cache = time.Hour })
	l.start()
	l.swept()
	l.write("a", eicar())
	first := l.await(1)[0]
	asked := d.Count(scantest.EICAR())
	l.until("a cached verdict", func() bool { // the verdict is written to the cache in the background
		n := len(l.outcomes())
		l.write(fmt.Sprint("again", n), eicar())
		return l.await(n + 1)[n].Cached
	})
	all := l.outcomes()
	cached := all[len(all)-1]
	if cached.Verdict != first.Verdict || cached.Signature != first.Signature || cached.SHA256 != first.SHA256 || cached.Tries != 0 || first.Cached {
		t.Errorf("%+v, first %+v", cached, first)
	}
	if now := d.Count(scantest.EICAR()); now != asked+len(all)-2 {
		t.Errorf("the scanner was asked %d times, then %d, for %d samples", asked, now, len(all))
	}
	// The verdict is still cached after a restart. The canary goes to the scanner
	// itself.
	l.halt()
	l.start()
	l.swept()
	n := len(l.outcomes())
	l.write("after", eicar())
	if o := l.await(n + 1)[n]; !o.Cached {
		t.Errorf("after a restart: %+v", o)
	}
	// A new version may judge differently.
	d.SetVersion("ClamAV 1.4.6/27999/Mon Nov 23 10:00:00 2026")
	l.until("a verdict of the new version", func() bool {
		n := len(l.outcomes())
		l.write(fmt.Sprint("new", n), eicar())
		return !l.await(n + 1)[n].Cached
	})
	if l.p.Status().Scanners[0].Version != "ClamAV 1.4.6/27999/Mon Nov 23 10:00:00 2026" {
		t.Errorf("%+v", l.p.Status().Scanners)
	}
}

// TestAStreamThatAScannerCannotRead is no tree that is kept from it: what comes as a stream
// has no path and no label. Each such sample is tried, and ends.
func TestAStreamThatAScannerCannotRead(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, "tcp")
	d.SetLocked("locked")
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Tries = 1 }))
	l.start()
	l.swept()
	large := l.write("large", "locked"+strings.Repeat("x", 300<<10))
	l.until("its end", func() bool { return l.last()[large].Outcome == Dead })
	if strings.Contains(l.logged(), "may not open the files of a tree") {
		t.Error("the tree is said to be kept from it")
	}
}
