// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

var (
	errAlias = errors.New("the directory is watched under another path, a bind mount")
	errMoved = errors.New("the directory was replaced while it was being watched")
)

// watches is what is armed of a tree: the engine at work, and each directory that
// has a watch or should have one.
//
//   - What a source tells counts while it is the current one. Its events may come for
//     a moment after it was closed.
//   - A watch is set before its directory is listed, and is held against what was
//     meant: the system follows links.
//   - A watch whose age is below the tree's is not trusted. It is set again when a
//     sweep comes past.
type watches struct {
	*ground
	now func() time.Duration // on the settler's clock, as the times of events are

	// arming is held while watches change, over the calls to the system that this
	// takes, so that no two goroutines set and give back the same one. It is taken
	// before mu. The goroutine that reads events never takes it.
	arming sync.Mutex

	// mu guards what follows. It is never held over a call to the system.
	mu     sync.Mutex
	source source // nil while the tree is not watched
	engine string // what source is; with auto not known before
	place  place  // of the root when it was armed
	armed  bool
	broken bool      // the root was moved or removed since
	deafAt time.Time // when source went deaf; zero while it hears
	since  time.Time // when source was made
	ever   bool      // armed at least once
	set    *folders
	age    uint64 // grows when events were lost
	full   error  // why no source could be made
}

func newWatches(g *ground, now func() time.Duration) *watches {
	return &watches{ground: g, now: now, engine: g.Engine, set: newFolders(g.Path)}
}

// standing is how the watches of a tree stand.
type standing struct {
	armed, broken bool
	place         place
	deafAt, since time.Time
}

func (a *watches) standing() standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	return standing{a.armed, a.broken, a.place, a.deafAt, a.since}
}

// take makes source the current one, with no watches yet; nil is the engine that has
// none. It reports whether it is the tree's first.
func (a *watches) take(source source, root place) (first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first = !a.ever
	a.source, a.place, a.armed, a.broken, a.full, a.ever = source, root, true, false, nil, true
	a.since, a.deafAt = time.Now(), time.Time{}
	a.set = newFolders(a.Path)
	return first
}

// refused notes that the system gives no further source, and reports whether the tree
// never had one.
func (a *watches) refused(err error) (first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first = !a.ever
	a.full, a.ever = err, true
	return first
}

// disarm gives all watches back.
func (a *watches) disarm() error {
	a.arming.Lock()
	defer a.arming.Unlock()
	a.mu.Lock()
	source := a.source
	a.source, a.armed, a.set = nil, false, newFolders(a.Path)
	a.mu.Unlock()
	if source == nil {
		return nil
	}
	return source.Close()
}

// uproot notes that the root was moved or removed, and reports whether source is the
// current one.
func (a *watches) uproot(source source) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.source != source {
		return false
	}
	a.broken = true
	return true
}

// spoil has the tree armed anew, whatever its source.
func (a *watches) spoil() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broken = true
}

// distrust has each watch set again, and reports whether source is the current one.
func (a *watches) distrust(source source, deaf bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.source != source {
		return false
	}
	a.age++
	if deaf {
		a.broken, a.deafAt = true, time.Now()
	}
	return true
}

// engages notes the engine that is at work, and reports whether another one was.
func (a *watches) engages(engine string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.engine
	a.engine = engine
	return was != engine
}

// knows reports whether source is the current one, whether path is a directory of the
// set, and whether that one has no watch or could not be listed.
func (a *watches) knows(source source, path string) (current, known, failed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.source != source {
		return false, false, false
	}
	e := a.set.get(path)
	return true, e != nil, e != nil && e.failed != nil
}

// fresh reports whether path has a watch on the directory at, set after the time when.
func (a *watches) fresh(path string, at place, when time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.set.get(path)
	return e != nil && e.watched && e.failed == nil && e.place == at && e.added > when
}

// forget gives back the watches at and below path.
func (a *watches) forget(path string) {
	a.arming.Lock()
	defer a.arming.Unlock()
	a.release(path)
}

// release is forget for a caller that holds arming.
func (a *watches) release(path string) {
	a.mu.Lock()
	var paths []string
	if e := a.set.get(path); e != nil {
		paths = a.set.drop(e)
	}
	source := a.source
	a.mu.Unlock()
	if source == nil {
		return
	}
	for _, p := range paths {
		// What is gone already has no watch to give back, which is no fault.
		_ = source.Remove(p)
	}
}

// ensure sets the watch of one directory, which was opened at, unless it is set
// and trusted. It comes before each listing. False means that path leads elsewhere
// by now.
func (a *watches) ensure(path string, at place) bool {
	a.arming.Lock()
	defer a.arming.Unlock()
	a.mu.Lock()
	source, age := a.source, a.age
	known, other := a.set.get(path), a.set.at(at)
	replaced := known != nil && known.watched && known.place != at
	trusted := known != nil && known.watched && known.failed == nil && known.age == age && !replaced
	a.mu.Unlock()
	if source == nil || trusted {
		return true
	}
	if replaced {
		a.release(path)
	}
	added := a.now()
	err := a.clash(path, at, other)
	if err == nil {
		err = a.add(source, path, at)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if vanished(err) || errors.Is(err, errMoved) {
		return false
	}
	if a.source == source && !a.beyond(path, err) {
		a.set.set(a.set.put(path), at, age, added, err)
		if watchLimit(err) {
			a.set.limit = err
		}
	}
	return true
}

// beyond reports whether the path of a folder above path is too long for the system
// already, as path's is: the first of them stands for all below. Their paths
// would take gigabytes in a tree that is deep enough. The caller holds mu.
func (a *watches) beyond(path string, err error) bool {
	above := a.set.get(filepath.Dir(path))
	return errors.Is(err, syscall.ENAMETOOLONG) && (above == nil || errors.Is(above.failed, syscall.ENAMETOOLONG))
}

// vanished reports whether err means that a path leads to nothing any more.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// clash clears the way for a watch on the directory at, which may be known under
// another path: the system would go on telling its events under that one.
func (a *watches) clash(path string, at place, other *entry) error {
	if other == nil || other.path == path {
		return nil
	}
	if st, err := a.lstat(other.path); err == nil && st.place() == at {
		if _, same := a.real(other.path); same {
			return errAlias
		}
	}
	a.release(other.path)
	return nil
}

// add sets one watch. Add follows links, so what was watched is held against
// what was meant.
func (a *watches) add(source source, path string, at place) error {
	_ = source.Remove(path) // a watch under this path that outlived its directory
	if err := source.Add(path); err != nil {
		return err
	}
	st, err := a.lstat(path)
	if err == nil && st.Mode.IsDir() && st.place() == at {
		return nil
	}
	_ = source.Remove(path)
	if err == nil {
		err = errMoved
	}
	return err
}

// fail notes that the folder path could not be listed, and reports whether that is new.
func (a *watches) fail(path string, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.set.get(path)
	first := e == nil || e.failed == nil
	if a.armed {
		a.set.fail(a.set.put(path), err)
	}
	return first
}
