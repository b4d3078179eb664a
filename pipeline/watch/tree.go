// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// buffered is how many events fsnotify keeps between the kernel's queue and us.
const buffered = 4096

// tree is a Tree at work. Each part of it has its own lock, and none is held while
// another part is called.
type tree struct {
	ground
	w       *Watcher
	watches *watches
	looks   *looks
	said    notices
	check   chan struct{} // wakes the tender before its time
	lost    atomic.Uint64 // how often events were lost
}

func newTree(w *Watcher, at int, t Tree) *tree {
	n := &tree{
		ground: ground{Tree: t, at: at, globs: newGlobs(t)}, w: w,
		looks: newLooks(), check: make(chan struct{}, 1),
	}
	n.watches = newWatches(&n.ground, w.settle.now)
	return n
}

// touch makes path a candidate. If there are too many, it raises a doubt.
func (t *tree) touch(path string) { t.take(path, t.w.settle.touch) }

func (t *tree) take(path string, settle func(*tree, string) bool) {
	if settle(t, path) {
		return
	}
	t.missed()
	if t.said.begins(&t.said.crowded) {
		t.leave(func() {
			t.w.log.Warn("too many files wait to settle, the tree will be swept; look what holds them open", "tree", t.Name, "waiting", most)
		})
	}
}

// missed notes that events were lost, and raises a doubt.
func (t *tree) missed() {
	t.lost.Add(1)
	if t.w.config.Lost != nil {
		t.w.config.Lost(t.at)
	}
	t.doubt(t.Path, WhyLost)
}

func (t *tree) doubt(under, why string) {
	t.w.doubts.raise(Doubt{Tree: t.at, Under: under, Why: why})
}

// leave lets the tender log a warning: the goroutine that reads events must not wait.
func (t *tree) leave(warn func()) {
	t.said.leave(warn)
	nudge(t.check)
}

// doubtUnwatched raises a doubt for each directory that has no watch, so that no event
// comes from it, or could not be read. One bad directory costs no sweep of the others.
func (t *tree) doubtUnwatched() {
	scopes, limit := t.watches.lacking()
	if limit {
		t.doubt(t.Path, WhyLimit)
	}
	for _, under := range scopes {
		t.doubt(under, WhyError)
	}
}

// event takes an event of source: it makes the path a candidate, or queues a look at a
// directory. It drops events of a source that is not current, events that change nothing
// for a known directory, and removals of paths that are not candidates. It never waits.
func (t *tree) event(source source, e fsnotify.Event) {
	if t.elsewhere(e.Name) {
		return
	}
	moved := e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)
	if e.Name == t.Path {
		if moved && t.watches.uproot(source) {
			nudge(t.check)
		}
		return
	}
	current, known, failed := t.watches.knows(source, e.Name)
	switch {
	case !current:
	case known:
		if moved || e.Has(fsnotify.Create) || failed && e.Has(fsnotify.Chmod) {
			t.examine(e.Name, t.w.settle.now())
		}
	case e.Op == ofFolder|fsnotify.Chmod: // only one that could not be read matters, and that is known
	case e.Has(ofFolder) && !moved:
		t.examine(e.Name, t.w.settle.now())
	case moved && !t.w.settle.has(e.Name):
	default:
		n := newsOf(e.Op)
		t.take(e.Name, func(t *tree, path string) bool { return t.w.settle.hear(t, path, n) })
	}
}

// elsewhere reports whether path lies below another tree that is in this one, or below a
// folder that is excluded with all in it: an engine that reports all below the tree
// reports these too.
func (t *tree) elsewhere(path string) bool {
	for _, other := range t.w.trees {
		if len(other.Path) > len(t.Path) && len(path) > len(other.Path) && Within(other.Path, path) {
			return true
		}
	}
	if len(t.Exclude) == 0 || len(path) <= len(t.Path) {
		return false
	}
	for rel := filepath.Dir(t.below(path)); rel != "."; rel = filepath.Dir(rel) {
		if t.globs.barren(rel) {
			return true
		}
	}
	return false
}

// trouble takes an error of source: it raises a doubt, and no watch is trusted after it.
// It never waits.
func (t *tree) trouble(source source, err error) {
	if !t.watches.distrust(source, errors.Is(err, errDeaf)) {
		return
	}
	nudge(t.check)
	if errors.Is(err, fsnotify.ErrEventOverflow) || errors.Is(err, errMalformed) || errors.Is(err, errUnplaced) {
		t.missed()
	} else {
		t.doubt(t.Path, WhyError)
	}
	if t.said.begins(&t.said.lost) {
		t.leave(func() {
			if errors.Is(err, errDeaf) {
				t.w.log.Warn("events of the tree have ended; it is watched anew and swept; if that goes on see to its disk or server", "tree", t.Name, "error", err)
				return
			}
			if errors.Is(err, errCrowded) {
				t.w.log.Warn("events came faster than they could be worked off, the tree will be swept", "tree", t.Name, "error", err)
				return
			}
			if errors.Is(err, errUnplaced) {
				t.w.log.Warn("events of the tree's file system could not be told, the tree will be swept; if that goes on see to memory, to the limit of open files and to the disk", "tree", t.Name, "error", err)
				return
			}
			t.w.log.Warn("events were lost, the tree will be swept; on Linux a larger fs.inotify.max_queued_events makes it rarer", "tree", t.Name, "error", err)
		})
	}
}

func (t *tree) state() TreeState {
	s := TreeState{Name: t.Name, Path: t.Path, Lost: t.lost.Load()}
	t.watches.state(&s)
	return s
}

// examine queues a look at path: a directory that came, went or was replaced. at is when
// its event was read. If the queue is full, examine raises a doubt. It never waits.
func (t *tree) examine(path string, at time.Duration) {
	if !t.looks.ask(path, at) {
		t.missed()
	}
}

// rearm sets the watches at and below path for the directories that are there now, removes
// those of directories that are gone, and makes the files candidates.
func (t *tree) rearm(ctx context.Context, path string, at time.Duration) {
	if root, other := t.w.root(path); other && root != t.at {
		t.watches.forget(path) // perhaps a folder was renamed into its place
		return
	}
	st, err := lstatBelow(t.Path, t.below(path))
	if err != nil && !vanished(err) {
		t.doubt(path, WhyError)
	}
	if err != nil || !st.Mode.IsDir() {
		t.watches.forget(path)
		if err == nil {
			t.touch(path)
		}
		return
	}
	if t.w.otherwise(t, path) {
		t.watches.forget(path)
		return
	}
	if t.globs.barren(t.below(path)) {
		t.watches.forget(path) // perhaps it was renamed into this name
		return
	}
	// A watch that was set after the event was read is on the new directory already.
	fresh, holds := t.watches.fresh(path, st.place(), at)
	if fresh {
		return
	}
	if !holds {
		t.watches.forget(path)
	}
	err = t.sweep(ctx, path, func(f Folder) error {
		for _, e := range f.Entries {
			t.touch(join(f.Path, e.Name))
		}
		if f.Err != nil && !vanished(f.Err) && !linked(f.Err) {
			t.doubt(f.Path, WhyError)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		t.doubt(path, WhyError)
	}
}

// report logs when the first directory is unwatched and when none is any more, and names
// the first ones that are not watched for a reason of their own. whole says that a sweep
// of the whole tree came to its end: then report logs the end of lost events.
func (t *tree) report(whole bool) {
	watched, unwatched, limit := t.watches.count()
	switch {
	case unwatched == 0:
		if t.said.ends(&t.said.unwatched) {
			t.said.unname()
			t.w.log.Info("all directories are watched again", "tree", t.Name, "directories", watched)
		}
	case limit != nil:
		if t.said.begins(&t.said.unwatched) {
			t.w.log.Warn("directories are not watched, the tree is swept each minute",
				"tree", t.Name, "watched", watched, "unwatched", unwatched, "why", WhyLimit, "next", moreWatches(watched+unwatched))
		}
	default:
		t.said.begins(&t.said.unwatched)
		for _, bad := range t.state().Troubles {
			if t.said.names(bad.Path) {
				t.w.log.Warn("directory is not watched or cannot be read, and is swept again each minute; all others are not touched by that: see that the service may read it, and that its disk is sound",
					"tree", t.Name, "folder", bad.Path, "error", bad.Err, "unwatched", unwatched)
			}
		}
	}
	if !whole {
		return
	}
	if t.said.ends(&t.said.lost) {
		t.w.log.Info("the tree was swept after lost events", "tree", t.Name)
	}
	if t.said.ends(&t.said.crowded) {
		t.w.log.Info("the tree was swept after too many files waited", "tree", t.Name)
	}
}
