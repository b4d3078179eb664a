// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"
)

var (
	errAlias = errors.New("the directory is watched under another path, a bind mount")
	errMoved = errors.New("the directory was replaced while it was being watched")
)

// examine asks for a look at path: a directory that came, went or was replaced.
// at is when the event for it was read. It never waits.
func (t *tree) examine(path string, at time.Duration) {
	t.mu.Lock()
	if _, there := t.jobs[path]; !there {
		if len(t.jobs) >= most {
			t.mu.Unlock()
			t.missed()
			return
		}
		t.order = append(t.order, path)
	}
	t.jobs[path] = at
	t.mu.Unlock()
	nudge(t.hurry)
}

// look works off what examine asked for.
func (t *tree) look(ctx context.Context) {
	for ctx.Err() == nil {
		t.mu.Lock()
		if len(t.order) == 0 {
			t.order = nil
			t.mu.Unlock()
			select {
			case <-t.hurry:
			case <-ctx.Done():
			}
			continue
		}
		path := t.order[0]
		t.order = t.order[1:]
		at := t.jobs[path]
		delete(t.jobs, path)
		t.looking = true
		t.mu.Unlock()
		t.settleFolder(ctx, path, at)
		t.mu.Lock()
		t.looking = false
		t.mu.Unlock()
	}
}

// settleFolder makes the watches at and below path fit what is there now, and
// makes candidates of the files in it.
func (t *tree) settleFolder(ctx context.Context, path string, at time.Duration) {
	if root, other := t.w.root(path); other && root != t.at {
		return
	}
	st, err := lstatBelow(t.Path, t.below(path))
	if err != nil && !vanished(err) {
		t.doubt(path, WhyError)
	}
	if err != nil || !st.Mode.IsDir() {
		t.forget(path)
		if err == nil {
			t.touch(path)
		}
		return
	}
	if t.w.otherwise(t, path) {
		t.forget(path)
		return
	}
	t.mu.Lock()
	known := t.set.get(path)
	// A watch set after the event was read is on what the event told of.
	fresh := known != nil && known.watched && known.failed == nil && known.place == st.place() && known.added > at
	t.mu.Unlock()
	if fresh || t.globs.barren(t.below(path)) {
		return
	}
	t.forget(path)
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

// forget gives back the watches at and below path.
func (t *tree) forget(path string) {
	t.arming.Lock()
	defer t.arming.Unlock()
	t.release(path)
}

// release is forget for a caller that holds arming.
func (t *tree) release(path string) {
	t.mu.Lock()
	var paths []string
	if e := t.set.get(path); e != nil {
		paths = t.set.drop(e)
	}
	source := t.source
	t.mu.Unlock()
	if source == nil {
		return
	}
	for _, p := range paths {
		// What is gone already has no watch to give back, which is no fault.
		_ = source.Remove(p)
	}
}

// lstat is the Stat of a directory of the tree; the tree's own path may be a link.
func (t *tree) lstat(path string) (Stat, error) {
	if path == t.Path {
		return follow(path)
	}
	return lstatBelow(t.Path, t.below(path))
}

// ensure sets the watch of one directory, which was opened at, unless it is set
// and trusted. It comes before each listing. False means that path leads elsewhere
// by now.
func (t *tree) ensure(path string, at place) bool {
	t.arming.Lock()
	defer t.arming.Unlock()
	t.mu.Lock()
	source, age := t.source, t.age
	known, other := t.set.get(path), t.set.at(at)
	replaced := known != nil && known.watched && known.place != at
	trusted := known != nil && known.watched && known.failed == nil && known.age == age && !replaced
	t.mu.Unlock()
	if source == nil || trusted {
		return true
	}
	if replaced {
		t.release(path)
	}
	added := t.w.settle.now()
	err := t.clash(path, at, other)
	if err == nil {
		err = t.add(source, path, at)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if vanished(err) || errors.Is(err, errMoved) {
		return false
	}
	if t.source == source && !t.beyond(path, err) {
		t.set.set(t.set.put(path), at, age, added, err)
		if watchLimit(err) {
			t.set.limit = err
		}
	}
	return true
}

// beyond reports whether the path of a folder above path is too long for the system
// already, as path's is: the first of them stands for all below. Their paths
// would take gigabytes in a tree that is deep enough. The caller holds mu.
func (t *tree) beyond(path string, err error) bool {
	above := t.set.get(filepath.Dir(path))
	return errors.Is(err, syscall.ENAMETOOLONG) && (above == nil || errors.Is(above.failed, syscall.ENAMETOOLONG))
}

// vanished reports whether err means that a path leads to nothing any more.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// clash clears the way for a watch on the directory at, which may be known under
// another path: the system would go on telling its events under that one.
func (t *tree) clash(path string, at place, other *entry) error {
	if other == nil || other.path == path {
		return nil
	}
	if st, err := t.lstat(other.path); err == nil && st.place() == at {
		if _, same := t.real(other.path); same {
			return errAlias
		}
	}
	t.release(other.path)
	return nil
}

// add sets one watch. Add follows links, so what was watched is held against
// what was meant.
func (t *tree) add(source source, path string, at place) error {
	_ = source.Remove(path) // a watch under this path that outlived its directory
	if err := source.Add(path); err != nil {
		return err
	}
	st, err := t.lstat(path)
	if err == nil && st.Mode.IsDir() && st.place() == at {
		return nil
	}
	_ = source.Remove(path)
	if err == nil {
		err = errMoved
	}
	return err
}

// report says when directories begin or cease to be unwatched, and when a sweep
// of the whole tree has made good what was lost.
func (t *tree) report(whole bool) {
	t.mu.Lock()
	watched, unwatched, limit := t.set.watched, t.set.unwatched, t.limited()
	t.mu.Unlock()
	switch {
	case unwatched == 0:
		if t.ends(&t.saidUnwatched) {
			t.w.log.Info("all directories are watched again", "tree", t.Name, "directories", watched)
		}
	case t.begins(&t.saidUnwatched):
		next := "see that they can be read"
		why := WhyError
		if limit != nil {
			next, why = moreWatches(watched+unwatched), WhyLimit
		}
		t.w.log.Warn("directories are not watched, the tree is swept each minute",
			"tree", t.Name, "watched", watched, "unwatched", unwatched, "why", why, "next", next)
	}
	if !whole {
		return
	}
	if t.ends(&t.saidLost) {
		t.w.log.Info("the tree was swept after lost events", "tree", t.Name)
	}
	if t.ends(&t.saidCrowded) {
		t.w.log.Info("the tree was swept after too many files waited", "tree", t.Name)
	}
}
