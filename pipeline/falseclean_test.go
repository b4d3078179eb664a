// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// seen waits until each address sees all canaries.
func (l *lab) seen() {
	l.t.Helper()
	l.until("sight", func() bool {
		all := l.p.Status().Scanners
		for _, s := range all {
			for _, a := range s.Sights {
				if a.Depth != scan.Yes {
					return false
				}
			}
		}
		return len(all) > 0
	})
}

// settled waits until nothing waits and the proof holds.
func (l *lab) settled() {
	l.t.Helper()
	l.until("the proof", func() bool {
		s := l.p.Status().Scanners[0]
		return s.Up && s.Waiting == 0 && l.verify(false).Proven()
	})
}

// TestAnOKUnderALesserSightIsNotRemembered as clean: without sight an OK is unscanned, and
// the same bytes are pushed again when canaries are asked.
func TestAnOKUnderALesserSightIsNotRemembered(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, scantest.Networks()[0])
	d.Set(scantest.Blind)
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Sight, s.Cache = -1, time.Hour }))
	path := l.write("a", eicar())
	l.start()
	l.until("its outcome", func() bool { return l.last()[path].Reason == scan.ReasonNoSight })
	l.halt()
	d.Set(scantest.Proper)
	l.c.Scanners[0].Sight = time.Minute
	l.start()
	l.swept()
	same := l.write("b", eicar())
	l.until("its outcome", func() bool { return l.last()[same].Verdict == scan.Malicious })
}

// TestACachedCleanInASessionThatLasts: a clean comes from the cache into a session that
// lasts. Meanwhile its address turns out blind, and the verdicts are taken back. That one
// is not recorded.
func TestACachedCleanInASessionThatLasts(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr(), sees(time.Second), func(s *config.Scanner) { s.Workers, s.Cache = 8, time.Hour }))
	const slow = 777
	hold, in := make(chan struct{}), make(chan struct{}, 100)
	l.meddle(slow, func() { in <- struct{}{}; <-hold })
	l.start()
	l.swept()
	l.seen()
	const text = "nobody knows whether it is clean"
	first := l.write("first", text)
	l.until("a clean", func() bool { return l.last()[first].Verdict == scan.Clean })
	must(t, l.p.Pause("clamav"))
	var copies []string
	for i := range 6 {
		copies = append(copies, l.write(fmt.Sprint("copy", i), text))
	}
	l.write("slow", strings.Repeat("s", slow))
	l.until("their lines", func() bool { return l.p.Status().Scanners[0].Waiting == 7 })
	must(t, l.p.Resume("clamav"))
	l.until("the slow one is at the scanner", func() bool { return len(in) > 0 })
	d.Set(scantest.Blind)
	l.until("it is taken back", func() bool { return strings.Contains(l.logged(), "verdicts are taken back") })
	lost := time.Now()
	close(hold)
	l.until("blind, and nothing in flight", func() bool { s := l.p.Status().Scanners[0]; return !s.Up && s.InFlight == 0 })
	sees := time.Now()
	d.Set(scantest.Proper)
	l.settled()
	l.until("clean, all of them", func() bool {
		last := l.last()
		return !slices.ContainsFunc(copies, func(path string) bool { return last[path].Verdict != scan.Clean })
	})
	for _, o := range l.outcomes() {
		if slices.Contains(copies, o.Path) && o.Time.After(lost) && o.Time.Before(sees) {
			t.Errorf("recorded after it was taken back: %+v", o)
		}
	}
}

// TestTheTreeIsAwayWhileACleanIsTakenBack: when it is back its file is pushed.
func TestTheTreeIsAwayWhileACleanIsTakenBack(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr(), sees(time.Second)))
	l.c.Trees[0].Engine = "sweep" // no engine holds the folder
	l.start()
	l.swept()
	l.seen()
	path := l.write("a", "nobody knows whether it is clean")
	must(t, l.p.Sweep(""))
	l.until("a clean", func() bool { return l.last()[path].Verdict == scan.Clean })
	must(t, os.Rename(l.drop, l.drop+".away"))
	d.Set(scantest.Blind)
	l.until("it is taken back", func() bool { return strings.Contains(l.logged(), "verdicts are taken back") })
	must(t, os.Rename(l.drop+".away", l.drop))
	d.Set(scantest.Proper)
	l.until("it is judged again", func() bool {
		_ = l.p.Sweep("") // as each minute
		all := outcomesOf(l.outcomes(), path)
		return len(all) > 1 && all[len(all)-1].Verdict == scan.Clean
	})
}

// TestAnAddressThatIsTakenOut: what it called clean since its last good canary is taken
// back, and nobody takes its word from the cache.
func TestAnAddressThatIsTakenOut(t *testing.T) {
	t.Parallel()
	network := scantest.Networks()[0]
	good, blind := scantest.Start(t, network), scantest.Start(t, network)
	l := newLab(t, clamd(good.Addr(), sees(time.Hour, blind.Addr()), func(s *config.Scanner) { s.Cache = time.Hour }))
	l.start()
	l.swept()
	l.seen()
	blind.Set(scantest.Blind)
	good.Set(scantest.Refuse)
	text := eicar() + "q"
	bad := l.write("bad", text)
	l.until("a false clean", func() bool { return l.last()[bad].Verdict == scan.Clean })
	l.halt()
	good.Set(scantest.Proper)
	l.c.Scanners[0].Addresses = []string{good.Addr()}
	l.start()
	l.swept()
	same := l.write("copy", text)
	l.until("both are malicious", func() bool {
		last := l.last()
		return last[bad].Verdict == scan.Malicious && last[same].Verdict == scan.Malicious
	})
	l.settled()
}

// TestNoAddressAnswersACanary: samples wait, and that is said.
func TestNoAddressAnswersACanary(t *testing.T) {
	t.Parallel()
	network := scantest.Networks()[0]
	a, b := scantest.Start(t, network), scantest.Start(t, network)
	file := filepath.Join(t.TempDir(), "canary")
	must(t, os.WriteFile(file, scantest.EICAR(), 0o600))
	l := newLab(t, clamd(a.Addr(), sees(time.Second, b.Addr()), func(s *config.Scanner) { s.Canary = file }))
	l.start()
	l.swept()
	l.seen()
	must(t, os.Remove(file))
	l.until("it is not ready", func() bool { return l.p.Ready() != nil })
	path := l.write("x", "harmless")
	must(t, os.WriteFile(file, scantest.EICAR(), 0o600))
	l.until("its outcome", func() bool { return l.last()[path].Verdict == scan.Clean })
}
