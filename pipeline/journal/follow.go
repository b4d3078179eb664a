// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Follower is the Tail of a lane that another process writes. It hears of appends by
// fsnotify. It syncs a segment itself before a reader returns its lines.
type Follower struct {
	dir  Folder
	base string
	log  *slog.Logger

	mu     sync.Mutex       // guards moved and synced
	moved  chan struct{}    // closed and replaced when there may be more
	synced map[uint64]int64 // by segment: how many bytes this process synced
}

// NewFollower returns a Tail of base in dir. It hears of appends while Run runs.
func NewFollower(dir Folder, base string, log *slog.Logger) *Follower {
	return &Follower{dir: dir, base: base, log: log, moved: make(chan struct{}), synced: map[uint64]int64{}}
}

// Run hears of appends until ctx ends.
func (t *Follower) Run(ctx context.Context) error {
	return t.dir.Listen(ctx, t.log, func() {
		t.mu.Lock()
		close(t.moved)
		t.moved = make(chan struct{})
		t.mu.Unlock()
	})
}

// Changed implements Tail.
func (t *Follower) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.moved
}

func (t *Follower) upto(n uint64, f File) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("stat segment: %w", err)
	}
	t.mu.Lock()
	have := t.synced[n]
	t.mu.Unlock()
	if st.Size() <= have {
		return st.Size(), nil
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("sync segment: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.synced {
		if k+1 < n {
			delete(t.synced, k)
		}
	}
	t.synced[n] = st.Size()
	return st.Size(), nil
}

func (t *Follower) ended(_ uint64, f File) bool {
	active, err := t.dir.Lstat(t.base)
	if err != nil {
		return false // in the middle of a cut: the create that follows calls changed
	}
	st, err := f.Stat()
	return err == nil && !os.SameFile(st, active)
}

// listen calls changed at its start, then after something happened in dir, until ctx
// ends. Events within 2 ms are one call. Without events it calls once a minute.
func listen(ctx context.Context, dir string, log *slog.Logger, changed func()) error {
	w, err := fsnotify.NewBufferedWatcher(64)
	if err != nil {
		return fmt.Errorf("watch journal folder: %w", err)
	}
	defer w.Close()
	if err := w.Add(dir); err != nil {
		return fmt.Errorf("watch journal folder: %w", err)
	}
	const gather = 2 * time.Millisecond
	t := time.NewTimer(time.Minute)
	defer t.Stop()
	soon := false
	changed()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-w.Errors:
			log.Warn("lost an event of the journal folder; it is read again", "error", err)
			t.Reset(gather)
			soon = true
		case <-w.Events:
			if !soon {
				t.Reset(gather)
				soon = true
			}
		case <-t.C:
			soon = false
			t.Reset(time.Minute)
			changed()
		}
	}
}
