// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/certpush/certpush/pipeline/internal/condition"
)

// Follower is the Tail of a lane that another process writes. It hears of appends by
// fsnotify. It syncs a segment itself before a reader returns its lines.
type Follower struct {
	dir  Folder
	base string

	mu     sync.Mutex       // guards moved and synced
	moved  chan struct{}    // closed and replaced when there may be more
	synced map[uint64]int64 // by segment: how many bytes this process synced
}

// NewFollower returns a Tail of base in dir. It hears of appends while Follow runs.
func NewFollower(dir Folder, base string) *Follower {
	return &Follower{dir: dir, base: base, moved: make(chan struct{}), synced: map[uint64]int64{}}
}

// Follow lets followers of lanes in one folder hear of appends, until ctx ends.
func Follow(ctx context.Context, log *slog.Logger, all ...*Follower) error {
	return all[0].dir.Listen(ctx, log, func() {
		for _, t := range all {
			t.mu.Lock()
			close(t.moved)
			t.moved = make(chan struct{})
			t.mu.Unlock()
		}
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

const (
	pollEvery  = 250 * time.Millisecond // how often a folder is looked at that cannot be watched
	watchAgain = time.Second            // how long until it is tried again to watch it
	gather     = 2 * time.Millisecond   // events that come within this time are one call
)

// listen calls changed at its start, then after something happened in dir, until ctx
// ends. Without events it calls once a minute. If the system gives no watch, it calls
// four times a second, until there is one.
func listen(ctx context.Context, dir string, log *slog.Logger, changed func()) error {
	var unwatched condition.Condition
	for ctx.Err() == nil {
		w, err := watchFolder(dir)
		switch unwatched.Note(err) {
		case condition.Began:
			log.Warn("folder of the journal cannot be watched; it is looked at four times a second instead: raise fs.inotify.max_user_instances or max_user_watches, or the limit of open files", "folder", dir, "error", err)
		case condition.Ended:
			log.Info("folder of the journal is watched again", "folder", dir)
		}
		if err != nil {
			poll(ctx, changed)
			continue
		}
		hear(ctx, w, log, changed)
		_ = w.Close() // it only heard
	}
	return nil
}

func watchFolder(dir string) (*fsnotify.Watcher, error) {
	w, err := fsnotify.NewBufferedWatcher(64)
	if err != nil {
		return nil, fmt.Errorf("watch journal folder: %w", err)
	}
	if err := w.Add(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("watch journal folder: %w", err), w.Close())
	}
	return w, nil
}

// poll calls changed again and again, until it is time to try a watch again.
func poll(ctx context.Context, changed func()) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for range int(watchAgain / pollEvery) {
		changed()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// hear calls changed at its start and after events of w, until ctx ends.
func hear(ctx context.Context, w *fsnotify.Watcher, log *slog.Logger, changed func()) {
	t := time.NewTimer(time.Minute)
	defer t.Stop()
	soon := false
	changed()
	for {
		select {
		case <-ctx.Done():
			return
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
