// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/watch"
)

// stray is a line that strayed: when it was pushed, its path led to no regular file.
type stray struct {
	path string
	at   sample.At
}

// strays makes the index forget the lines that strayed, so that a file is journaled
// again when it comes back. It is the part of a Producer that a consumer speaks to.
type strays struct {
	index   *index.Index
	watcher *watch.Watcher
	log     *slog.Logger
	woken   chan struct{} // a token: a line strayed

	mu        sync.Mutex // guards the fields below
	list      []stray    // not taken by run yet
	told      uint64     // lines that strayed so far
	forgotten uint64     // how many of them, the first ones, the index has forgotten on disk
}

// strayAgain is how long run waits before it tries an index that refused again.
const strayAgain = time.Second

func newStrays(x *index.Index, w *watch.Watcher, log *slog.Logger) *strays {
	return &strays{index: x, watcher: w, log: log, woken: make(chan struct{}, 1)}
}

// Stray notes that a line strayed. It never waits, because the index may be waiting for
// its disk, and pushing must go on.
func (s *strays) Stray(path string, at sample.At) {
	s.mu.Lock()
	s.list = append(s.list, stray{path, at})
	s.told++
	s.mu.Unlock()
	s.wake()
}

func (s *strays) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// Strays returns how many lines strayed so far, and how many of them, the first ones, the
// index has forgotten on disk. No cursor on disk may pass the others: after a crash the
// ledger's tail tells of them once more.
func (s *strays) Strays() (told, forgotten uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told, s.forgotten
}

// run forgets lines that strayed, until ctx ends. Their files may be back already, so
// their paths settle again.
//
// A crash before the index has this on disk: the cursors are before these lines, and the
// next start is told of them again.
func (s *strays) run(ctx context.Context) error {
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	var refused condition.Condition
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.woken:
		case <-retry.C:
		}
		s.mu.Lock()
		all := s.list
		s.list = nil
		s.mu.Unlock()
		err := s.forget(ctx, all)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // once more, with those that come meanwhile
			s.mu.Lock()
			s.list = append(all, s.list...)
			s.mu.Unlock()
			retry.Reset(strayAgain)
		default:
			s.mu.Lock()
			s.forgotten += uint64(len(all))
			s.mu.Unlock()
		}
		switch refused.Note(err) {
		case condition.Began:
			s.log.Error("index cannot forget files that are gone; it is tried again each second, and no cursor passes them: look at the disk", "files", len(all), "error", err)
		case condition.Ended:
			s.log.Info("index has forgotten the files that are gone")
		}
	}
}

// forget has the index forget lines, and returns nil when that is on disk.
func (s *strays) forget(ctx context.Context, all []stray) error {
	if len(all) == 0 {
		return nil
	}
	for _, line := range all {
		if err := s.index.ForgetLine(ctx, line.path, line.at); err != nil {
			return err
		}
	}
	if err := s.index.Persist(ctx); err != nil {
		return err
	}
	for _, line := range all {
		s.watcher.Again(line.path)
	}
	return nil
}

// Here reports that the producer is in this process.
func (*strays) Here() bool { return true }

// Again lets a path settle again, because its file is another version now. It does not
// wait.
func (s *strays) Again(path string) { s.watcher.Again(path) }
