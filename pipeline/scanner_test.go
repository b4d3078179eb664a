// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

func clamd(addr string, set ...func(*config.Scanner)) func(*Config) {
	return func(c *Config) {
		s := config.Scanner{Name: "clamav", Type: "clamd", Addresses: []string{addr}, BackoffFirst: 20 * time.Millisecond, BackoffMax: 100 * time.Millisecond, Timeout: time.Minute, Tries: 3}
		for _, f := range set {
			f(&s)
		}
		c.Scanners = []config.Scanner{s}
	}
}

// TestRealClamd: clean, EICAR, larger than the stream limit, and clamd killed and
// restarted in the middle; by descriptor and by stream.
func TestRealClamd(t *testing.T) {
	for _, way := range scantest.Networks() {
		t.Run(way, func(t *testing.T) {
			d := scantest.Clamd(t, "StreamMaxLength 1M")
			addr := d.UnixAddr
			if way == "tcp" {
				addr = d.TCPAddr
			}
			l := newLab(t, clamd(addr, func(s *config.Scanner) { s.Workers, s.MaxSize = 4, 100<<20 }))
			l.start()
			l.swept()
			good, bad := l.write("good", "hello"), l.write("bad", eicar())
			big := l.write("big", strings.Repeat("a big file ", 300_000))
			all := l.await(3)
			if o := outcomesOf(all, good)[0]; o.Verdict != scan.Clean {
				t.Errorf("clean file: %+v", o)
			}
			if o := outcomesOf(all, bad)[0]; o.Verdict != scan.Malicious || !strings.Contains(o.Signature, "Eicar") {
				t.Errorf("EICAR: %+v", o)
			}
			want := scan.Clean // the stream limit does not hold for a descriptor
			if way == "tcp" {
				want = scan.Unscanned
			}
			if o := outcomesOf(all, big)[0]; o.Verdict != want {
				t.Errorf("over the stream limit: %+v", o)
			}
			const n = 300
			for i := range n {
				if i == n/3 {
					d.Kill()
				}
				if i == 2*n/3 {
					d.Restart()
				}
				l.write(fmt.Sprintf("many/%d", i), strings.Repeat(fmt.Sprint(i), 500))
			}
			all = l.await(3 + n)
			for _, o := range all[3:] {
				if o.Outcome != sample.Done || o.Verdict != scan.Clean {
					t.Errorf("over the restart: %+v", o)
				}
			}
			for _, say := range []string{"scanner is down", "scanner is up again"} {
				if !strings.Contains(l.logged(), say) {
					t.Errorf("not said: %s", say)
				}
			}
		})
	}
}

// 3. After a void session each sample is tried alone, and only a try alone counts. A
// bad sample never stops good ones. A try counts only if the scanner judged
// something since.
func TestFinePrint03SessionsAndTries(t *testing.T) {
	d := scantest.Start(t, scantest.Networks()[0])
	d.SetCrashOn("poison")
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Workers = 8 }))
	poison := l.write("0-poison", "this is poison")
	for i := range 40 {
		l.write(fmt.Sprintf("good%d", i), fmt.Sprintf("good %d", i))
	}
	l.start()
	all := l.await(41)
	for _, o := range all {
		switch {
		case o.Path == poison && (o.Outcome != sample.Dead || o.Tries != 3 || o.Verdict != "" || o.Reason == ""):
			t.Errorf("poison: %+v", o)
		case o.Path != poison && (o.Outcome != sample.Done || o.Verdict != scan.Clean):
			t.Errorf("good sample: %+v", o)
		}
	}
	if o := outcomesOf(all, poison); len(o) != 1 {
		t.Errorf("poison has %d outcomes", len(o))
	}
}

// TestScannerMisbehaves: whatever the scanner does, no verdict is made up, nothing is
// lost, and its fault alone makes no dead letter. When it behaves again, each sample is
// judged, once.
func TestScannerMisbehaves(t *testing.T) {
	cases := map[string]scantest.Behaviour{
		"refuses": scantest.Refuse, "resets": scantest.Reset, "closes": scantest.Close, "mute": scantest.Mute, "hangs": scantest.Hang,
		"drops": scantest.Drop, "drips": scantest.Drip, "garbage": scantest.Garbage, "answers and hangs up": scantest.HangUp,
		"answers early": scantest.Early, "flood": scantest.Flood, "errors": scantest.Fail, "sick": scantest.Sick,
		"twice": scantest.Duplicate, "alien": scantest.Alien, "extra": scantest.Extra, "torn": scantest.Torn, "read timeout": scantest.ReadTimeout,
	}
	for name, b := range cases {
		for _, network := range scantest.Networks() {
			t.Run(name+"/"+network, func(t *testing.T) {
				t.Parallel()
				misbehave(t, b, network)
			})
		}
	}
}

func misbehave(t *testing.T, b scantest.Behaviour, network string) {
	d := scantest.Start(t, network)
	n, padding, timeout, maxSize := 12, "", 200*time.Millisecond, int64(64<<10) // its canaries are small
	if b == scantest.Early && network == "tcp" {
		// This is more than a socket takes unread. So the answer comes to a sample that
		// was not sent whole.
		n, padding, timeout, maxSize = 3, strings.Repeat("0123456789abcdef", 1<<20), 10*time.Second, 32<<20
	}
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Workers, s.Timeout, s.MaxSize = 4, timeout, maxSize }))
	l.start()
	l.until("the scanner", func() bool { return l.p.Ready() == nil })
	d.Set(b)
	var paths []string
	for i := range n {
		paths = append(paths, l.write(fmt.Sprintf("f%d", i), fmt.Sprintf("content %d", i)+padding))
	}
	l.until("all journaled", func() bool {
		s := l.p.Status().Scanners
		return len(s) == 1 && s[0].Journaled == int64(n)
	})
	l.until("it had its chance", func() bool {
		log := l.logged()
		return d.Sessions() >= 6 || strings.Contains(log, "try failed") || strings.Contains(log, "scanner is") && strings.Contains(log, "pushing to it pauses") || len(l.outcomes()) > 0
	})
	for _, o := range l.outcomes() {
		t.Errorf("a verdict that was not given: %+v", o)
	}
	d.Set(scantest.Proper)
	l.judged(paths...)
	l.until("nothing waits", func() bool { return l.p.Status().Scanners[0].Waiting == 0 })
	for _, path := range paths {
		o := outcomesOf(l.outcomes(), path)
		if len(o) != 1 || o[0].Outcome != sample.Done || o[0].Verdict != scan.Clean {
			t.Errorf("in the end: %+v", o)
		}
	}
}

// TestScannerDiesAndComesBack again and again while samples are pushed.
func TestScannerDiesAndComesBack(t *testing.T) {
	for _, network := range scantest.Networks() {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			d := scantest.Start(t, network)
			d.SetDelay(time.Millisecond)
			const deaths = 8
			// A sample that was alone with the scanner when it died may lose one try
			// for each death, as if it were the cause; never two.
			l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Workers, s.Tries = 4, deaths+1 }))
			l.start()
			l.swept()
			var paths []string
			for round := range deaths {
				d.Set(scantest.Proper)
				n := len(d.Received())
				for i := range 15 {
					paths = append(paths, l.write(fmt.Sprintf("%d/%d", round, i), fmt.Sprintf("sample %d %d", round, i)))
				}
				l.until("it is in the middle", func() bool { return len(d.Received()) > n+4 })
				d.Set(scantest.Refuse)
			}
			d.Set(scantest.Proper)
			l.judged(paths...)
			l.until("nothing waits", func() bool { return l.p.Status().Scanners[0].Waiting == 0 })
			for _, path := range paths {
				if o := outcomesOf(l.outcomes(), path); len(o) != 1 || o[0].Outcome != sample.Done || o[0].Verdict != scan.Clean {
					t.Errorf("%s: %+v", path, o)
				}
			}
		})
	}
}

// TestASampleThatFellsTheScanner: each time the scanner is gone for a moment. The
// sample ends as a dead letter after its tries, and delays none of the others. The
// samples in the same session are not blamed.
func TestASampleThatFellsTheScanner(t *testing.T) {
	t.Parallel()
	const tries = 6 // a good sample may be alone with the scanner when it falls, but not this often
	d := scantest.Start(t, scantest.Networks()[0])
	d.SetCrashOn("poison")
	d.SetOutage(60 * time.Millisecond)
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Workers, s.Tries = 8, tries }))
	l.start()
	l.swept()
	poison := l.write("poison", "this is poison")
	var good []string
	for i := range 60 {
		good = append(good, l.write(fmt.Sprintf("good%d", i), fmt.Sprintf("good %d", i)))
	}
	l.judged(append(good, poison)...)
	for _, o := range l.outcomes() {
		switch {
		case o.Path == poison && (o.Outcome != sample.Dead || o.Tries != tries || o.Verdict != "" || o.Reason == ""):
			t.Errorf("poison: %+v", o)
		case o.Path != poison && (o.Outcome != sample.Done || o.Verdict != scan.Clean):
			t.Errorf("good sample: %+v", o)
		}
	}
	if n := len(l.outcomes()); n != 61 {
		t.Errorf("%d outcomes for 61 samples", n)
	}
}

// TestAGigabyteOfReplyTakesNoMemory: a reply is read up to a limit. The test runs
// alone, because it measures the memory of the whole process.
func TestAGigabyteOfReplyTakesNoMemory(t *testing.T) {
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Workers = 4 }))
	l.start()
	l.until("the scanner", func() bool { return l.p.Ready() == nil })
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, uint64(0)
	d.Set(scantest.Flood)
	for i := range 8 {
		l.write(fmt.Sprint(i), fmt.Sprint(i))
	}
	n := d.Sessions()
	l.until("some floods", func() bool {
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapAlloc)
		return d.Sessions() >= n+5
	})
	if most > before+64<<20 {
		t.Errorf("%d MiB while the scanner flooded, %d MiB before", most>>20, before>>20)
	}
	d.Set(scantest.Proper)
	for _, o := range l.await(8) {
		if o.Outcome != sample.Done || o.Verdict != scan.Clean {
			t.Errorf("in the end: %+v", o)
		}
	}
}

func TestBlindScannerIsSaid(t *testing.T) {
	d := scantest.Start(t, scantest.Networks()[0])
	d.Set(scantest.Blind)
	l := newLab(t, clamd(d.Addr()))
	l.start()
	l.until("a word of it", func() bool { return strings.Contains(l.logged(), "answers but does not detect") })
}

// TestScannerDownAtStart: the service stays up, journals, and pushes when the scanner
// answers.
func TestScannerDownAtStart(t *testing.T) {
	d := scantest.Start(t, "tcp")
	d.Set(scantest.Refuse)
	l := newLab(t, clamd(d.Addr()))
	l.start()
	l.swept()
	path := l.write("a", "1")
	l.until("the line", func() bool { return len(l.lines("live")) == 1 })
	if l.p.Ready() == nil {
		t.Error("ready without a scanner")
	}
	if s := l.p.Status().Scanners[0]; s.Up || s.Waiting != 1 {
		l.until("waiting 1", func() bool { return l.p.Status().Scanners[0].Waiting == 1 })
	}
	d.Set(scantest.Proper)
	if o := l.await(1)[0]; o.Path != path || o.Outcome != sample.Done || o.Tries != 1 {
		t.Errorf("outcome %+v", o)
	}
}

// TestHostileNamesReachTheLedger: a name of any bytes survives from tree to ledger, and
// is escaped there.
func TestHostileNamesReachTheLedger(t *testing.T) {
	l := newLab(t)
	names := hostileNames()
	for _, n := range names {
		l.write(n, "x"+n)
	}
	l.start()
	all := l.await(len(names))
	for _, n := range names {
		if o := outcomesOf(all, filepath.Join(l.drop, n)); len(o) != 1 || o[0].Outcome != sample.Done {
			t.Errorf("%q: %+v", n, o)
		}
	}
	l.halt()
	text, err := os.ReadFile(filepath.Join(l.c.State, "ledger", "verdicts.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{"\x1b", "\u202e", "\xff", "\t"} {
		if bytes.Contains(text, []byte(raw)) {
			t.Errorf("raw %q in the ledger", raw)
		}
	}
	if got := bytes.Count(text, []byte{'\n'}); got != len(names) {
		t.Errorf("%d ledger lines for %d files", got, len(names))
	}
}

// TestAStopGivesBackWhatTakesTooLong: a stop waits for the samples in flight for Grace
// at most. The next start pushes them again.
func TestAStopGivesBackWhatTakesTooLong(t *testing.T) {
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr()), func(c *Config) { c.Grace = 50 * time.Millisecond })
	l.start()
	l.swept()
	l.until("the scanner", func() bool { return l.p.Status().Scanners[0].Up })
	d.SetDelay(time.Minute)
	path := l.write("slow", "slow")
	l.until("a sample in flight", func() bool { return l.p.Status().Scanners[0].InFlight == 1 })
	begun := time.Now()
	l.halt()
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if all := l.outcomes(); len(all) != 0 {
		t.Errorf("outcomes of a sample given back: %+v", all)
	}
	d.SetDelay(0)
	l.start()
	if o := l.await(1)[0]; o.Path != path || o.Outcome != sample.Done || o.Tries != 1 {
		t.Errorf("after the next start: %+v", o)
	}
}
