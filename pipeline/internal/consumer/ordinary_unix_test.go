// SPDX-License-Identifier: Apache-2.0

//go:build unix

package consumer

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
)

// handed is a shallow that takes descriptors, and may be kept from ordinary files.
type handed struct {
	shallow
	kept bool
}

func (*handed) Passes() bool { return true }

func (h *handed) Scan(ctx context.Context, files iter.Seq[scan.File]) (all []scan.Answer) {
	for f := range files {
		if h.kept && strings.Contains(f.F.Name(), scan.CanaryFile) && exists(f.F.Name()) {
			all = append(all, scan.Answer{Err: scan.Failed(scan.Sick, "scan: %w", scan.ErrNotOpened)})
			continue
		}
		all = append(all, h.shallow.Scan(ctx, slices.Values([]scan.File{f}))...)
	}
	return all
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestOrdinaryFilesAreAQuestionOfTheirOwn: a scanner that is kept from them is not blind,
// no sample waits for that, and nothing is taken back. Without a folder nobody asks.
func TestOrdinaryFilesAreAQuestionOfTheirOwn(t *testing.T) {
	c := config.Scanner{Name: "s", Type: "clamd", Sight: time.Hour, SightDepth: 64 << 20, MaxSize: 1 << 20}
	d, m := &handed{shallow: shallow{1 << 40}}, &losses{of: map[scan.Canary]int{}}
	config := Config{Scanner: c, Scan: d, Log: slog.New(slog.DiscardHandler)}
	if s := newSights(config, m); s.eyes[0].sight.Ordinary != "" || s.wants(s.eyes[0], scan.Ordinary, time.Now()) {
		t.Error("without a folder it is asked")
	}
	dir := t.TempDir()
	s := newSightsIn(dir, config, m)
	e := s.eyes[0]
	for _, canary := range []scan.Canary{scan.Plain, scan.Archive, scan.Encrypted, scan.Depth} {
		_ = s.askOne(t.Context(), e, canary) // noted
	}
	for _, kept := range []bool{false, true, true, false} {
		d.kept = kept
		if due, _ := s.due(e, time.Now()); due != "" && due != scan.Ordinary {
			t.Errorf("%q is due", due)
		}
		err := s.askOne(t.Context(), e, scan.Ordinary)
		if want := map[bool]scan.Seen{false: scan.Yes, true: scan.No}[kept]; e.sight.Ordinary != want || errors.Is(err, scan.ErrNotOpened) != kept {
			t.Errorf("%+v, want %s: %v", e.sight, want, err)
		}
		if e.sight.Plain != scan.Yes || !e.sight.Covers(1<<20) || m.of[scan.Ordinary] > 0 || kept != slices.ContainsFunc(e.sight.Lacks(), func(l scan.Lack) bool { return l.Canary == scan.Ordinary && strings.Contains(l.Hint, "AppArmor") }) {
			t.Errorf("%+v, taken back %v", e.sight, m.of)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
}
