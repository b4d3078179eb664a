// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
)

// shallow is a scanner that detects whatever a canary is, up to a size.
type shallow struct{ limit int64 }

func (*shallow) Ping(context.Context) (string, error) { return "v", nil }
func (*shallow) Key(context.Context) string           { return "v" }

func (s *shallow) Scan(_ context.Context, files iter.Seq[scan.File]) (all []scan.Answer) {
	for f := range files {
		head := make([]byte, min(f.Size, 64))
		_, err := f.Reader().ReadAt(head, 0)
		a := scan.Answer{Verdict: scan.Clean, Version: "v"}
		if err == nil && f.Size <= s.limit && !bytes.Contains(head, []byte("certpush asks")) {
			a.Verdict = scan.Malicious
		}
		all = append(all, a)
	}
	return all
}

// losses counts what is taken back, by canary.
type losses struct {
	forgetful
	of map[scan.Canary]int
}

func (l *losses) retract(_ context.Context, _ string, c scan.Canary, _ int64, _ func() error) (int, error) {
	l.of[c]++
	return 0, nil
}

// TestDepthThatShrinksIsTakenBack, also where it was less than it should be before.
func TestDepthThatShrinksIsTakenBack(t *testing.T) {
	c := config.Scanner{Name: "s", Type: "clamd", Sight: time.Minute, SightDepth: 64 << 20, MaxSize: 30 << 20}
	d, m := &shallow{26 << 20}, &losses{of: map[scan.Canary]int{}}
	var log bytes.Buffer
	s := newSights(Config{Scanner: c, Scan: d, Log: slog.New(slog.NewTextHandler(&log, nil))}, m)
	e := s.eyes[0]
	for _, want := range []struct {
		limit, deep int64
		lost        int
		says        string
	}{
		{26 << 20, 25 << 20, 1, "does not see all"},
		{26 << 20, 25 << 20, 1, ""},
		{2 << 20, 1 << 20, 2, "looks less deep than before"},
		{64 << 20, 30 << 20, 2, "sees more than before"},
		{5000, scan.Small, 3, "does not see all"},
	} {
		d.limit = want.limit
		log.Reset()
		_ = s.askOne(t.Context(), e, scan.Plain) // noted
		_ = s.askOne(t.Context(), e, scan.Depth) // noted
		if e.sight.Deep != want.deep || m.of[scan.Depth] != want.lost || m.of[scan.Plain] > 0 {
			t.Errorf("limit %d: deep %d, want %d; taken back %v, want %d", want.limit, e.sight.Deep, want.deep, m.of, want.lost)
		}
		if lines := strings.Count(log.String(), "address "); want.says != "" && !strings.Contains(log.String(), want.says) || lines != min(1, len(want.says)) {
			t.Errorf("limit %d: %d lines, want %q:\n%s", want.limit, lines, want.says, log.String())
		}
		if want.says == "looks less deep than before" && !strings.Contains(log.String(), fmt.Sprint("bytes=", want.deep)) {
			t.Errorf("the new depth is not said:\n%s", log.String())
		}
	}
}

// TestABlindAddressIsShownToSeeNothing of what it saw before.
func TestABlindAddressIsShownToSeeNothing(t *testing.T) {
	c := config.Scanner{Name: "s", Type: "clamd", Sight: time.Minute, SightDepth: 64 << 20, MaxSize: 1 << 20}
	d := &shallow{1 << 40}
	s := newSights(Config{Scanner: c, Scan: d, Log: slog.New(slog.DiscardHandler)}, forgetful{})
	_ = s.askOne(t.Context(), s.eyes[0], scan.Plain) // noted
	_ = s.askOne(t.Context(), s.eyes[0], scan.Depth) // noted
	if is := s.all()[0]; is.Depth != scan.Yes || is.Deep != c.MaxSize {
		t.Errorf("%+v", is)
	}
	d.limit = 0
	_ = s.askOne(t.Context(), s.eyes[0], scan.Plain) // noted
	if is := s.all()[0]; is.Plain != scan.No || is.Depth != scan.NotAsked || is.Deep != 0 || is.Archive != scan.NotAsked {
		t.Errorf("%+v", is)
	}
}

// TestAPlainCanaryWaitsForNoDeepOne of another scanner.
func TestAPlainCanaryWaitsForNoDeepOne(t *testing.T) {
	c := config.Scanner{Name: "s", Type: "clamd", Sight: time.Minute, SightDepth: 64 << 20, MaxSize: 1 << 20}
	deep := make(chan struct{}, 1)
	s := newSights(Config{Scanner: c, Scan: &shallow{1 << 40}, Log: slog.New(slog.DiscardHandler), Deep: deep}, forgetful{})
	deep <- struct{}{} // it is under way
	ctx, stop := context.WithCancel(t.Context())
	waits := make(chan error, 1)
	go func() { waits <- s.askOne(ctx, s.eyes[0], scan.Depth) }()
	if err := s.askOne(t.Context(), s.eyes[0], scan.Plain); err != nil {
		t.Error(err)
	}
	stop()
	<-waits
}

// TestACanaryThatCannotBeMadeIsNotWantedAllTheTime.
func TestACanaryThatCannotBeMadeIsNotWantedAllTheTime(t *testing.T) {
	c := config.Scanner{Name: "s", Type: "clamd", Sight: time.Hour, SightDepth: 64 << 20, MaxSize: 1 << 20}
	s := newSights(Config{Scanner: c, Scan: &shallow{1 << 40}, Log: slog.New(slog.DiscardHandler)}, forgetful{})
	e := s.eyes[0]
	_ = s.askOne(t.Context(), e, scan.Plain) // noted
	s.note(e, scan.Archive, 0, scan.Shown{Why: scan.ErrUnaskable}, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wants(e, scan.Archive, time.Now().Add(time.Minute)) {
		t.Error("it is wanted again after a minute")
	}
}

// measured is a shallow that notes how large the largest canary was.
type measured struct {
	shallow
	most atomic.Int64
}

func (m *measured) Scan(ctx context.Context, files iter.Seq[scan.File]) (all []scan.Answer) {
	return m.shallow.Scan(ctx, func(yield func(scan.File) bool) {
		for f := range files {
			m.most.Store(max(m.most.Load(), f.Size))
			if !yield(f) {
				return
			}
		}
	})
}

// TestACanaryIsAsDeepAsSamplesNeed, while they flow. The whole depth is asked when none
// does, or when so much was pushed that it is a small part of it.
func TestACanaryIsAsDeepAsSamplesNeed(t *testing.T) {
	for _, ends := range []string{"rest", "much"} {
		synctest.Test(t, func(t *testing.T) {
			c := config.Scanner{Name: "s", Type: "clamd", Sight: time.Hour, SightDepth: 16 << 20, MaxSize: 16 << 20}
			d := &measured{shallow: shallow{limit: 1 << 40}}
			s := newSightsIn(t.TempDir(), Config{Scanner: c, Scan: d, Log: slog.New(slog.DiscardHandler)}, forgetful{})
			e := s.eyes[0]
			h := newHealth(c, d, s, slog.New(slog.DiscardHandler))
			if err := s.ask(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.mu.Lock()
			h.s.up = true
			h.mu.Unlock()
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { _ = s.tend(ctx, e, h); close(ended) }()
			flow := func(d time.Duration, size int64) {
				for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
					s.flows(scan.Answer{Version: "v"}, size)
				}
				synctest.Wait()
			}
			flow(10*time.Second, 10)
			if n := d.most.Load(); n > scan.Small {
				t.Errorf("a canary of %d bytes is asked while small samples flow", n)
			}
			if s.cover(100 << 10) {
				t.Error("a larger sample is covered")
			}
			flow(100*time.Millisecond, 10)
			if n := d.most.Load(); n != 1<<20 || !s.cover(100<<10) || s.cover(2<<20) {
				t.Errorf("%+v after a canary of %d bytes", e.sight, n)
			}
			flow(100*time.Millisecond, 10)
			if n := d.most.Load(); n != 3<<20 || !s.cover(2<<20) || s.all()[0].Depth != scan.NotAsked {
				t.Errorf("%+v after a canary of %d bytes", e.sight, n)
			}
			if ends == "rest" {
				time.Sleep(3 * deepRest)
			} else {
				flow(10*time.Second, 32<<20)
			}
			synctest.Wait()
			if is := s.all()[0]; is.Depth != scan.Yes || is.Deep != 16<<20 {
				t.Errorf("%s: %+v", ends, is)
			}
			stop()
			<-ended
		})
	}
}

// mute is a shallow that stops answering.
type mute struct {
	shallow
	silent bool
}

func (m *mute) Scan(ctx context.Context, files iter.Seq[scan.File]) (all []scan.Answer) {
	if !m.silent {
		return m.shallow.Scan(ctx, files)
	}
	for range files {
		all = append(all, scan.Answer{Err: &scan.Failure{Kind: scan.Down, Err: context.DeadlineExceeded}})
	}
	return all
}

// TestASilentCanaryBringsAPlainOne: so an address that stops answering is found out by the
// next canary of any kind.
func TestASilentCanaryBringsAPlainOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config.Scanner{Name: "s", Type: "clamd", Sight: time.Hour, SightDepth: 64 << 20, MaxSize: 1 << 20}
		d := &mute{shallow: shallow{1 << 40}}
		s := newSights(Config{Scanner: c, Scan: d, Log: slog.New(slog.DiscardHandler)}, forgetful{})
		e := s.eyes[0]
		if err := s.askOne(t.Context(), e, scan.Plain); err != nil {
			t.Fatal(err)
		}
		time.Sleep(doubtEvery)
		if due, _ := s.due(e, time.Now()); due != scan.Archive {
			t.Errorf("%q is due", due)
		}
		d.silent = true
		_ = s.askOne(t.Context(), e, scan.Archive) // noted
		if due, _ := s.due(e, time.Now()); due != scan.Plain {
			t.Errorf("%q is due", due)
		}
	})
}

// slow is a shallow that answers nothing about files that are larger than most bytes.
type slow struct {
	shallow
	most int64
}

func (s *slow) Scan(ctx context.Context, files iter.Seq[scan.File]) (all []scan.Answer) {
	for f := range files {
		if f.Size > s.most {
			all = append(all, scan.Answer{Err: &scan.Failure{Kind: scan.Refused, Err: context.DeadlineExceeded}})
			continue
		}
		all = append(all, s.shallow.Scan(ctx, slices.Values([]scan.File{f}))...)
	}
	return all
}

// TestWhatIsAnsweredInTimeIsNotKeptWaiting: a scanner is too slow for the deepest canary.
// Samples up to the size that it answers need not wait. When it is quicker, the others
// need not either.
func TestWhatIsAnsweredInTimeIsNotKeptWaiting(t *testing.T) {
	c := config.Scanner{Name: "s", Type: "clamd", Sight: time.Minute, SightDepth: 64 << 20, MaxSize: 30 << 20}
	d, m := &slow{shallow{1 << 40}, 4 << 20}, &losses{of: map[scan.Canary]int{}}
	s := newSights(Config{Scanner: c, Scan: d, Log: slog.New(slog.DiscardHandler)}, m)
	e := s.eyes[0]
	for _, canary := range []scan.Canary{scan.Plain, scan.Archive, scan.Encrypted} {
		_ = s.askOne(t.Context(), e, canary) // noted
	}
	for i, want := range []int64{0, 0, 3 << 20, 3 << 20, 3 << 20} {
		_ = s.askOne(t.Context(), e, scan.Depth) // noted
		if e.sight.Deep != want || e.sight.Depth != scan.NoAnswer || e.sight.Covers(3<<20) != (want > 0) || e.sight.Covers(4<<20) {
			t.Errorf("%d: %+v", i, e.sight)
		}
	}
	d.most = 1 << 40
	for range 3 { // it was asked in vain before, and begins with less
		_ = s.askOne(t.Context(), e, scan.Depth) // noted
	}
	if e.sight.Deep != c.MaxSize || e.sight.Depth != scan.Yes || m.of[scan.Depth] > 0 {
		t.Errorf("%+v, taken back %v", e.sight, m.of)
	}
}

// TestNoAddressSees: a session then has an answer that is no verdict.
func TestNoAddressSees(t *testing.T) {
	c := config.Scanner{Name: "clamav", Type: "clamd", Addresses: []string{"tcp:127.0.0.1:1", "tcp:127.0.0.1:2"}, Sight: time.Hour}
	d, err := Scanner(c, slog.New(slog.DiscardHandler))
	must(t, err)
	s := newSights(Config{Scanner: c, Scan: d, Log: slog.New(slog.DiscardHandler)}, forgetful{})
	path := filepath.Join(t.TempDir(), "x")
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	all := s.scanner().Scan(t.Context(), slices.Values([]scan.File{{F: f, Size: 1}}))
	if len(all) != 1 || all[0].Err == nil || all[0].Err.Kind != scan.Down {
		t.Errorf("%+v", all)
	}
}

// TestSightThatAgedInAPauseIsShownAnew: nothing is called clean by what an address showed
// long ago.
func TestSightThatAgedInAPauseIsShownAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config.Scanner{Name: "s", Type: "clamd", Sight: time.Minute, SightDepth: 64 << 20, MaxSize: 1 << 20}
		d := &shallow{1 << 40}
		log := slog.New(slog.DiscardHandler)
		s := newSights(Config{Scanner: c, Scan: d, Log: log}, forgetful{})
		h := newHealth(c, d, s, log)
		h.recover(t.Context())
		_ = s.askOne(t.Context(), s.eyes[0], scan.Depth) // noted
		for _, long := range []time.Duration{time.Minute, 2 * time.Hour} {
			h.pause(true)
			time.Sleep(long)
			h.pause(false)
			if h.open() {
				t.Errorf("%v: it is pushed to, and it was not asked yet", long)
			}
			if small, large := s.cover(1), s.cover(1<<20); small != (long < othersEvery) || large != small {
				t.Errorf("%v: a small sample is covered: %v, a large one: %v", long, small, large)
			}
			h.recover(t.Context())
			if small, large := s.cover(1), s.cover(1<<20); !h.open() || !small || large != (long < othersEvery) {
				t.Errorf("%v, asked: a small sample is covered: %v, a large one: %v", long, small, large)
			}
		}
	})
}
