// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

const (
	newer = "ClamAV 1.4.3/27001/Mon Nov 23 10:00:00 2026"
	older = "ClamAV 1.4.3/26000/Sun Nov 22 10:00:00 2026"
)

// kept returns when verdicts come from the cache. Then a verdict that was given before
// is in the cache too, or never will be.
func (l *lab) kept(text string) {
	l.t.Helper()
	l.until("a cached verdict", func() bool {
		n := len(l.outcomes())
		l.write(fmt.Sprint("kept", n), text)
		return l.await(n + 1)[n].Cached
	})
}

// TestAVerdictByOlderSignaturesIsNotKeptForTheNewer: one of two addresses comes back
// with an older database, right after both were asked for their version.
func TestAVerdictByOlderSignaturesIsNotKeptForTheNewer(t *testing.T) {
	for _, network := range scantest.Networks() {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			stays, returns := scantest.Start(t, network), scantest.Start(t, network)
			for _, d := range []*scantest.Server{stays, returns} {
				d.SetVersion(newer)
				d.SetMarker("known to the newer")
			}
			l := newLab(t, clamd(stays.Addr(), func(s *config.Scanner) {
				s.Addresses = append(s.Addresses, returns.Addr())
				s.Cache, s.Workers = time.Hour, 1
			}))
			l.start()
			l.swept()
			const bad = "this is known to the newer signatures"
			var once sync.Once
			l.meddle(len(bad), func() {
				once.Do(func() {
					returns.SetVersion(older)
					returns.SetMarker("")
					stays.Set(scantest.Refuse)
				})
			})
			l.write("a", bad)
			if o := l.await(1)[0]; o.Verdict != scan.Clean || o.Cached {
				t.Fatalf("by the older: %+v", o)
			}
			returns.SetVersion(newer)
			returns.SetMarker("known to the newer")
			stays.Set(scantest.Proper)
			l.kept("something else")
			n := len(l.outcomes())
			l.write("b", bad)
			if o := l.await(n + 1)[n]; o.Verdict != scan.Malicious || o.Cached {
				t.Errorf("by the newer: %+v", o)
			}
		})
	}
}

// TestNothingIsKeptOfADatabaseThatChangesMeanwhile, neither under the version before
// the sample nor under the one after it.
func TestNothingIsKeptOfADatabaseThatChangesMeanwhile(t *testing.T) {
	for _, network := range scantest.Networks() {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			l, d := remembering(t, network)
			d.SetVersion(older)
			d.SetVersionAfter(newer)
			l.start()
			l.swept()
			l.write("a", "one")
			l.await(1)
			for i, version := range []string{older, newer} {
				d.SetVersion(version)
				d.SetVersionAfter("")
				l.kept(fmt.Sprint("something else ", i))
				n := len(l.outcomes())
				d.SetVersionAfter("ClamAV 1.4.3/1/x") // so this verdict is not kept either
				l.write(fmt.Sprint("b", i), "one")
				if o := l.await(n + 1)[n]; o.Cached || o.Verdict != scan.Clean {
					t.Errorf("%s: %+v", version, o)
				}
			}
		})
	}
}

// TestVersionIsSwitchedOff: a clamd that does not tell its version ends each session in
// which it is asked. Samples get their verdicts nevertheless.
func TestVersionIsSwitchedOff(t *testing.T) {
	for _, network := range scantest.Networks() {
		l, d := remembering(t, network)
		l.start()
		l.swept()
		l.write("a", "one")
		l.await(1)
		d.SetVersion("COMMAND UNAVAILABLE")
		for i := range 5 {
			l.write(fmt.Sprint("b", i), fmt.Sprint("two ", i))
			if o := l.await(i + 2)[i+1]; o.Outcome != sample.Done || o.Verdict != scan.Clean || o.Cached || o.Tries != 1 {
				t.Errorf("%+v", o)
			}
		}
		l.halt()
	}
}

// TestACachedVerdictIsHeldAgainstMaxSize: the scanner called a file clean. Then an
// operator sets max_size below the file's size: now it is unscanned, although its
// verdict is cached.
func TestACachedVerdictIsHeldAgainstMaxSize(t *testing.T) {
	d := scantest.Start(t, scantest.Networks()[0])
	d.SetVersion(newer)
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Cache = time.Hour }))
	l.start()
	l.swept()
	big := strings.Repeat("x", 5000)
	l.kept(big)
	l.halt()
	l.c.Scanners[0].MaxSize = 1000
	l.start()
	// Until we know the scanner's version, the scanner itself is asked.
	l.until("an answer of the cache", func() bool {
		n := len(l.outcomes())
		l.write(fmt.Sprint("again", n), big)
		o := l.await(n + 1)[n]
		if o.Verdict != scan.Unscanned || o.Reason != scan.ReasonTooBig {
			t.Fatalf("verdict %s, reason %q, cached %v", o.Verdict, o.Reason, o.Cached)
		}
		return o.Cached
	})
}

// TestNothingIsRememberedOfADatabaseWithoutANumber: the version of such a clamd does
// not change with its signatures.
func TestNothingIsRememberedOfADatabaseWithoutANumber(t *testing.T) {
	l, d := remembering(t, scantest.Networks()[0])
	d.SetVersion("ClamAV 1.4.6")
	l.start()
	l.swept()
	for i, name := range []string{"a", "b", "c"} {
		l.write(name, eicar())
		if o := l.await(i + 1)[i]; o.Cached || o.Verdict != scan.Malicious {
			t.Errorf("%+v", o)
		}
	}
	l.halt()
	l.start()
	l.swept()
	d.SetVersion("ClamAV 1.4.6/27999/Mon Nov 23 10:00:00 2026")
	l.write("d", eicar())
	if o := l.await(4)[3]; o.Cached {
		t.Errorf("%+v", o)
	}
}
