// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"path/filepath"
	"time"
)

// folders is the set of directories of a tree that are watched, or should be. It is linked
// as a tree, so that the directories below a path are found without a search through all.
// watches.mu guards it.
type folders struct {
	root    string
	byPath  map[string]*entry
	byPlace map[place]*entry
	failing map[string]*entry // those that failed, but for those with too long a path
	limit   error             // the last watch limit that was reached
	watched int
	limited int // how many failed for want of watches
	tooLong int // how many were left out, because their path is too long
}

// entry is one directory. If it is neither watched nor failed, it is there only because of
// its children.
type entry struct {
	path              string
	parent            *entry
	first, next, prev *entry // children, and neighbours below the same parent
	place             place
	age               uint64        // the tree's age when the watch was set
	added             time.Duration // a time just before the watch was set
	watched           bool
	failed            error // why it is not watched or could not be listed; nil: it is watched
}

func newFolders(root string) *folders {
	return &folders{root: root, byPath: map[string]*entry{}, byPlace: map[place]*entry{}, failing: map[string]*entry{}}
}

func (f *folders) get(path string) *entry { return f.byPath[path] }

// at returns the watched directory with place p, or nil if there is none or the file
// system does not number its files.
func (f *folders) at(p place) *entry {
	if p.inode == 0 {
		return nil
	}
	return f.byPlace[p]
}

// put returns the entry of path. If there is none it makes one, and those of its parents
// up to the root.
func (f *folders) put(path string) *entry {
	if e := f.byPath[path]; e != nil {
		return e
	}
	e := &entry{path: path}
	f.byPath[path] = e
	if path == f.root {
		return e
	}
	e.parent = f.put(filepath.Dir(path))
	if e.next = e.parent.first; e.next != nil {
		e.next.prev = e
	}
	e.parent.first = e
	return e
}

// set notes that the watch of e was set at p, or why it could not be (failed).
func (f *folders) set(e *entry, p place, age uint64, added time.Duration, failed error) {
	f.count(e, -1)
	f.unplace(e)
	e.place, e.age, e.added, e.watched, e.failed = p, age, added, failed == nil, failed
	if p.inode != 0 && e.watched {
		f.byPlace[p] = e
	}
	f.count(e, 1)
}

// fail notes that e could not be listed.
func (f *folders) fail(e *entry, err error) {
	f.count(e, -1)
	e.failed = err
	f.count(e, 1)
}

func (f *folders) count(e *entry, by int) {
	switch {
	case errors.Is(e.failed, ErrTooLong):
		f.tooLong += by
	case e.failed != nil:
		if watchLimit(e.failed) {
			f.limited += by
		}
		if delete(f.failing, e.path); by > 0 {
			f.failing[e.path] = e
		}
	case e.watched:
		f.watched += by
	}
}

func (f *folders) unplace(e *entry) {
	if f.byPlace[e.place] == e {
		delete(f.byPlace, e.place)
	}
}

// drop removes e and all entries below it, and returns their paths, the deepest first.
func (f *folders) drop(e *entry) []string { return f.dropInto(nil, e) }

func (f *folders) dropInto(paths []string, e *entry) []string {
	for e.first != nil {
		paths = f.dropInto(paths, e.first)
	}
	f.count(e, -1)
	f.unplace(e)
	delete(f.byPath, e.path)
	switch {
	case e.prev != nil:
		e.prev.next = e.next
	case e.parent != nil:
		e.parent.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	return append(paths, e.path)
}

// older returns the directories, except the root, whose watch was set before age. It
// leaves out those at and below one that could not be listed: they may be there still.
func (f *folders) older(age uint64) []string {
	var paths []string
	for path, e := range f.byPath {
		if e.age < age && path != f.root && (e.watched || e.failed != nil) && e.unlisted() == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// unlisted returns the highest directory at or above e that failed, but for want of
// watches; nil if there is none.
func (e *entry) unlisted() (top *entry) {
	for ; e != nil; e = e.parent {
		if e.failed != nil && !watchLimit(e.failed) {
			top = e
		}
	}
	return top
}
