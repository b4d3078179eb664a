// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// or sets *v to def if it is zero.
func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// DefaultGrace is how long a stop waits for the samples in flight.
const DefaultGrace = 8 * time.Second

// DefaultCopyMemory is how many bytes of memory hold copies of samples.
const DefaultCopyMemory = 256 << 20

// DefaultSettleLimit is how long a file may have a writer, or a sample a holder.
const DefaultSettleLimit = time.Hour

// DefaultSweep is the time from one sweep to the next.
const DefaultSweep = time.Hour

// MostSync is the longest that Journal.Sync may be: for so long a settled file is not
// journaled.
const MostSync = 10 * time.Second

// MostLedgerSync is the longest that Ledger.Sync may be: a power cut repeats the pushes of
// so long.
const MostLedgerSync = time.Second

// FillJournal sets each zero value of j to its default, and makes its folder absolute.
func FillJournal(j *Journal, state string) {
	or(&j.Dir, "journal")
	if !filepath.IsAbs(j.Dir) {
		j.Dir = filepath.Join(state, j.Dir)
	}
	or(&j.CutEvery, time.Minute)
	or(&j.CutSize, 64<<20)
	or(&j.Keep, 1440)
	or(&j.Max, 20<<30)
	or(&j.MinFree, 256<<20)
}

// FillLedger sets each zero value of l to its default.
func FillLedger(l *Ledger) {
	or(&l.Sync, 10*time.Millisecond)
	or(&l.Keep, 400)
	or(&l.Max, 20<<30)
}

// FillTrees returns a copy of the trees in which each zero value has its default. The
// error names a path that is not absolute, or a name that is used twice.
func FillTrees(in []Tree) ([]Tree, error) {
	trees := slices.Clone(in)
	seen := map[string]bool{}
	for i := range trees {
		t := &trees[i]
		if t.Path == "" || !filepath.IsAbs(t.Path) {
			return nil, fmt.Errorf("tree %q is not an absolute path: write it in full", t.Path)
		}
		t.Path = filepath.Clean(t.Path)
		or(&t.Name, filepath.Base(t.Path))
		if seen[t.Name] {
			return nil, fmt.Errorf("tree name %q is used twice: give one of them another name", t.Name)
		}
		seen[t.Name] = true
		or(&t.Settle, 500*time.Millisecond)
		or(&t.SettleLimit, DefaultSettleLimit)
		or(&t.MinSize, 1)
		if t.Sweep == 0 {
			t.Sweep, t.Adapts = DefaultSweep, true
		}
		or(&t.Engine, "auto")
	}
	return trees, nil
}

// FillScanners returns a copy of the scanners in which each zero value has its default.
// Without any scanner it returns the built-in hash list. The error names a name that is
// used twice.
func FillScanners(in []Scanner) ([]Scanner, error) {
	scanners := slices.Clone(in)
	if len(scanners) == 0 {
		scanners = []Scanner{{Name: DefaultScanner, Type: "hashlist"}}
	}
	seen := map[string]bool{}
	for i := range scanners {
		s := &scanners[i]
		or(&s.Type, "clamd")
		or(&s.Name, s.Type)
		if seen[s.Name] {
			return nil, fmt.Errorf("scanner name %q is used twice: give one of them another name", s.Name)
		}
		seen[s.Name] = true
		or(&s.Queue, 1000)
		or(&s.Timeout, 5*time.Minute)
		or(&s.Tries, 8)
		or(&s.BackoffFirst, time.Second)
		or(&s.BackoffMax, 5*time.Minute)
		if s.MaxSize == 0 && s.Type == "clamd" {
			s.MaxSize = 25 << 20
		}
		s.MaxSize = max(s.MaxSize, 0)
		or(&s.Sight, 10*time.Minute)
		or(&s.SightDepth, 64<<20)
	}
	return scanners, nil
}
