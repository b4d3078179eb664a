// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// TestAScannerThatIsKeptFromOrdinaryFiles is not blind, and small samples, which go as
// copies, have their verdicts. It is said. When it is let, so have the large ones.
func TestAScannerThatIsKeptFromOrdinaryFiles(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, "unix")
	d.SetKept(true)
	l := newLab(t, clamd(d.Addr(), sees(2*time.Second)))
	l.start()
	l.swept()
	ordinary := func() scan.Seen { return l.p.Status().Scanners[0].Sights[0].Ordinary }
	l.until("the canary", func() bool { return ordinary() == scan.No })
	small := l.write("small", "harmless")
	l.until("a verdict", func() bool { return l.last()[small].Verdict == scan.Clean })
	if err := l.p.Ready(); err != nil {
		t.Error(err)
	}
	if s := l.p.Status().Scanners[0]; s.Blind || s.Sights[0].Plain != scan.Yes || s.Sights[0].Archive != scan.Yes {
		t.Errorf("%+v", s)
	}
	l.wants("is kept from ordinary files", "AppArmor", "it got no descriptor", "larger samples are tried")
	large := l.write("large", strings.Repeat("x", 300<<10))
	l.until("its line", func() bool { return l.p.Status().Scanners[0].Journaled == 2 })
	small = l.write("small too", "harmless too")
	l.until("a verdict", func() bool { return l.last()[small].Verdict == scan.Clean })
	if s := l.p.Status().Scanners[0]; s.Waiting != 1 || s.Dead > 0 || !s.Up {
		t.Errorf("a large sample waits, and the scanner is up: %+v", s)
	}
	d.SetKept(false)
	l.until("a verdict", func() bool { return l.last()[large].Verdict == scan.Unscanned }) // over max_size
	l.halt()
	l.start()
	l.swept()
	l.until("the canary", func() bool { return ordinary() == scan.Yes })
	if left, err := filepath.Glob(filepath.Join(l.c.State, "cursors", scan.CanaryFile+"*")); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
}

// TestATreeThatAScannerMayNotOpen: its canary says that ordinary files are let through, and
// those of the tree are not. That is said of the tree once, no try is used up, and nothing
// else waits. When they are let through, they have their verdicts.
func TestATreeThatAScannerMayNotOpen(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, "unix")
	d.SetKeptAbove(256 << 10)
	l := newLab(t, clamd(d.Addr(), sees(2*time.Second), func(s *config.Scanner) { s.Workers, s.Tries = 2, 1 }))
	l.start()
	l.swept()
	l.until("the canary", func() bool { return l.p.Status().Scanners[0].Sights[0].Ordinary == scan.Yes })
	var large []string
	for i := range 3 {
		large = append(large, l.write(fmt.Sprint("large", i), strings.Repeat("x", 300<<10+i)))
	}
	const says = "scanner may not open the files of a tree"
	l.until("its word", func() bool { return strings.Contains(l.logged(), says) })
	l.wants("AppArmor", "tree="+filepath.Dir(large[0]))
	l.until("many tries", func() bool { return d.Denied() > 20 })
	small := l.write("small", "harmless")
	l.until("a verdict", func() bool { return l.last()[small].Verdict == scan.Clean })
	if s := l.p.Status().Scanners[0]; s.Waiting != 3 || s.Dead > 0 || !s.Up || strings.Count(l.logged(), says) != 1 {
		t.Errorf("%+v", s)
	}
	d.SetKept(false)
	for _, path := range large {
		l.until("a verdict", func() bool { return l.last()[path].Verdict == scan.Unscanned }) // over max_size
	}
	l.until("its word", func() bool { return strings.Contains(l.logged(), "scanner may open the files of the tree again") })
}

// TestACanaryThatWasLeftIsTakenAway by the next start.
func TestACanaryThatWasLeftIsTakenAway(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, "tcp")
	l := newLab(t, clamd(d.Addr(), sees(time.Hour)))
	l.start()
	l.swept()
	l.halt()
	left := filepath.Join(l.c.State, "cursors", scan.CanaryFile+"1")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.swept()
	if _, err := os.Lstat(left); !os.IsNotExist(err) {
		t.Error(err)
	}
	if s := l.p.Status().Scanners[0].Sights[0]; s.Ordinary != "" {
		t.Errorf("a stream has no descriptor: %+v", s)
	}
}
