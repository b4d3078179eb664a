// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

var (
	errAlias = errors.New("the directory is watched under another path, a bind mount")
	errMoved = errors.New("the directory was replaced while it was being watched")
)

// watches holds the watches of a tree: the source at work, and each directory that has a
// watch or should have one.
//
//   - Events of a source count only while it is the current one. A closed source may
//     still send events for a moment.
//   - A watch is set before its directory is listed. Then it is checked that it is on the
//     directory that was meant, because the system follows links.
//   - A watch whose age is below the tree's age is not trusted. The next sweep of its
//     directory sets it again.
type watches struct {
	*ground
	now func() time.Duration // the settler's clock, which the times of events use too

	// arming guards changes of watches. It is held also during the calls to the system
	// that set or remove them, so that two goroutines cannot do that to the same watch.
	// It is taken before mu. The goroutine that reads events never takes it.
	arming sync.Mutex

	// mu guards the fields below. It is never held during a call to the system.
	mu     sync.Mutex
	source source // nil while the tree is not watched
	engine string // the engine of source; auto until one is chosen
	place  place  // the root's when it was armed
	armed  bool
	broken bool      // the root was moved or removed since, or the tree must be armed again
	deafAt time.Time // when source went deaf; zero while it is not deaf
	since  time.Time // when source was made
	ever   bool      // it was armed, or tried to be, at least once
	set    *folders
	age    uint32 // grows each time that events may have been lost
	other  string // see TreeState.Elsewhere
	full   error  // why no source could be made; nil: one could

	instead error // why engine is not the one that was asked for; nil: it is
}

func newWatches(g *ground, now func() time.Duration) *watches {
	return &watches{ground: g, now: now, engine: g.Engine, set: newFolders(g.Path)}
}

// standing is a copy of the state that the tender decides by.
type standing struct {
	armed, broken bool
	place         place
	deafAt, since time.Time
	whole         whole // the source, if it hears all below the tree
}

func (a *watches) standing() standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, _ := a.source.(whole)
	return standing{a.armed, a.broken, a.place, a.deafAt, a.since, w}
}

// take makes source the current one, with no watches yet. source is nil for an engine
// without one. take reports whether the tree was never armed before.
func (a *watches) take(source source, root place) (first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first = !a.ever
	a.source, a.place, a.armed, a.broken, a.full, a.ever = source, root, true, false, nil, true
	a.since, a.deafAt = time.Now(), time.Time{}
	a.set = newFolders(a.Path)
	return first
}

// refused notes that the system gives no source, and reports whether this was the first
// attempt to arm the tree.
func (a *watches) refused(err error) (first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first = !a.ever
	a.full, a.ever = err, true
	return first
}

// disarm closes the source, and so removes all watches.
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

// liesOn notes the type of the tree's file system, if no event tells what others write.
func (a *watches) liesOn(kind string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.other = kind
}

// uproot notes that the root was moved or removed. If source is not the current one it
// does nothing and returns false.
func (a *watches) uproot(source source) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.source != source {
		return false
	}
	a.broken = true
	return true
}

// spoil makes the tender arm the tree again.
func (a *watches) spoil() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broken = true
}

// distrust makes all watches untrusted, so that the next sweep sets them again. deaf says
// that the source must be made anew. If source is not the current one it does nothing and
// returns false.
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

// engages notes the engine that is at work, and why it takes the place of the one that was
// asked for, if it does. It reports whether another one was at work before.
func (a *watches) engages(engine string, instead error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.engine
	a.engine, a.instead = engine, instead
	return was != engine
}

// knows reports whether source is the current one, whether path is a directory in the
// set, and whether that directory has no watch or could not be listed.
func (a *watches) knows(source source, path string) (current, known, failed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.source != source {
		return false, false, false
	}
	r := a.set.get(path)
	return true, r != 0, r != 0 && a.set.failure(r) != nil
}

// fresh reports whether path has a watch on the directory at that was set after the time
// when, and whether it has one there that goes with the directory when it is renamed.
func (a *watches) fresh(path string, at place, when time.Duration) (fresh, holds bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.set.get(path)
	if r == 0 || !a.set.lies(r, at) || a.set.failure(r) != nil {
		return false, false
	}
	n := a.set.nodes.of(r)
	return n.watched && n.added > when, n.watched && n.number != 0
}

// forget removes the watches at and below path, and forgets the directories.
func (a *watches) forget(path string) {
	a.arming.Lock()
	defer a.arming.Unlock()
	a.release(path)
}

// release is forget for a caller that holds arming.
func (a *watches) release(path string) {
	a.mu.Lock()
	var all []watching
	if r := a.set.get(path); r != 0 {
		all = a.set.drop(r)
	}
	source := a.source
	a.mu.Unlock()
	if source == nil {
		return
	}
	for _, w := range all {
		_ = source.Remove(w) // it fails if the directory is gone: then the watch is gone too
	}
}

// ensure sets the watch of the directory path, unless it has one that is trusted. at is
// the place of the directory that the caller opened as f. It must be called before each
// listing. It returns false if path leads to another place now. If the watch cannot be
// set it notes that and returns true.
func (a *watches) ensure(path string, at place, f *os.File) bool {
	a.arming.Lock()
	defer a.arming.Unlock()
	source, age, state := a.trusts(path, at)
	if source == nil || state == trusted {
		return true
	}
	if w, is := source.(whole); is {
		a.heard(w, setting{watches: a, source: w, path: path, at: at, age: age, added: a.now()})
		return true
	}
	if state == replaced {
		a.release(path)
	}
	s := setting{watches: a, source: source, path: path, at: at, age: age, added: a.now()}
	err := s.add(f)
	if vanished(err) || errors.Is(err, errMoved) {
		return false
	}
	if !s.note(err) || err != nil {
		return true
	}
	// The system follows links, and path may lead elsewhere since it was opened. This look
	// comes last: the events of what is done to the path later name a directory that is
	// in the set.
	st, err := a.lstat(path)
	switch {
	case err == nil && st.Mode.IsDir() && st.place() == at:
		return true
	case err == nil || vanished(err):
		s.undo()
		return false
	}
	s.undo()
	s.note(err)
	return true
}

// heard notes that a folder is heard without a watch of its own, or why it is not. A folder
// that is heard is not put into the set, which would grow with the tree; the root is there
// for all. One that is not heard stands for all below it.
func (a *watches) heard(w whole, s setting) {
	at, err := w.hears(s.path)
	if at != s.path {
		return
	}
	a.mu.Lock()
	known := s.path == a.Path || a.set.get(s.path) != 0
	a.mu.Unlock()
	if known || err != nil {
		s.note(err)
	}
}

// trust says what the set knows of the watch of a directory.
type trust uint8

const (
	untrusted trust = iota // it has none, or one that must be set again
	trusted
	replaced // it is on another directory
)

// trusts returns the source, the age of the tree, and what is known of path, which leads
// to the directory at.
func (a *watches) trusts(path string, at place) (source, uint32, trust) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.set.get(path)
	if r == 0 || !a.set.nodes.of(r).watched {
		return a.source, a.age, untrusted
	}
	switch {
	case !a.set.lies(r, at):
		return a.source, a.age, replaced
	case a.set.failure(r) == nil && a.set.nodes.of(r).age == a.age:
		return a.source, a.age, trusted
	}
	return a.source, a.age, untrusted
}

// beyond reports whether err says that path is too long for the system, and the path of
// the folder above is too long as well. Such a folder is not noted: the first one stands
// for all below it, because their paths would take gigabytes in a tree that is deep
// enough. The caller holds mu.
func (a *watches) beyond(path string, err error) bool {
	if !errors.Is(err, syscall.ENAMETOOLONG) {
		return false
	}
	if path == a.Path {
		return true
	}
	above := a.set.get(filepath.Dir(path))
	return above == 0 || errors.Is(a.set.failure(above), syscall.ENAMETOOLONG)
}

// vanished reports whether err means that a path leads to nothing any more.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// fail notes that the folder path could not be listed, and reports whether it could be
// before.
func (a *watches) fail(path string, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.set.get(path)
	first := r == 0 || a.set.failure(r) == nil
	if a.armed {
		a.set.fail(a.set.put(path), err)
	}
	return first
}
