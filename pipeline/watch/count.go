// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"slices"
	"strings"
)

// This file counts the watches: for the state of a tree, for its reports, for a sweep.

// count returns how many directories have a watch and how many should have one, and
// the error of a limit that was reached.
func (a *watches) count() (watched, unwatched int, limit error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.set.watched, len(a.set.failing), a.limited()
}

// scopesMost is how many scopes lacking returns at most, namedMost how many folders are
// named in the state of a tree, and lookedMost among how many they are the first.
const (
	scopesMost = 64
	namedMost  = 8
	lookedMost = 10_000
)

// lacking returns directories below which nothing is watched or read: some of them if
// there are many, others each time. limit reports whether the reason is a limit of the
// system, or that it gave no source at all: then all directories may lack their watch.
func (a *watches) lacking() (scopes []string, limit bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.full != nil || a.limited() != nil {
		return nil, true
	}
	for r := range a.set.failing { // in another order each time
		top := a.set.unlisted(r)
		if path := a.set.path(top); !errors.Is(a.set.failure(top), ErrTooLong) && !slices.Contains(scopes, path) {
			scopes = append(scopes, path)
		}
		if len(scopes) == scopesMost {
			break
		}
	}
	return scopes, false
}

// Trouble is a directory that is not watched or cannot be read.
type Trouble struct {
	Path string // of a long one only the beginning
	Err  error
}

// troubles returns the first few directories that failed, in the order of their paths. Of
// very many only some are looked at: whoever asks holds the lock, and readers of events
// wait for it.
func (f *folders) troubles() (all []Trouble) {
	looked := 0
	for r, err := range f.failing {
		all = append(all, Trouble{f.path(r), err})
		if len(all) > 4*namedMost {
			all = first(all)
		}
		if looked++; looked == lookedMost {
			break
		}
	}
	all = first(all)
	for i := range all {
		all[i].Path = shortened(all[i].Path)
	}
	return all
}

func first(all []Trouble) []Trouble {
	slices.SortFunc(all, func(a, b Trouble) int { return strings.Compare(a.Path, b.Path) })
	return all[:min(len(all), namedMost)]
}

// shortened returns a path that can be shown: names may be nested to gigabytes.
func shortened(path string) string {
	const most = 1024
	if len(path) <= most {
		return path
	}
	return path[:most] + "..."
}

// limited returns the error of a watch limit that was reached. The caller holds mu.
func (a *watches) limited() error {
	if a.set.limited == 0 {
		return nil
	}
	return a.set.limit
}

// state sets the fields of s that are about the watches.
func (a *watches) state(s *TreeState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Engine, s.Armed, s.Directories, s.Unwatched = a.engine, a.armed, a.set.watched, len(a.set.failing)
	s.Troubles, s.TooLong, s.Elsewhere, s.Instead = a.set.troubles(), len(a.set.long), a.other, a.instead
	if r := a.set.get(a.set.root); r != 0 {
		s.Unread = a.set.failure(r)
	}
	switch {
	case a.full != nil && instanceLimit(a.full):
		s.Limit = moreInstances()
	case a.full != nil:
		s.Limit = a.full.Error()
	case a.limited() != nil:
		s.Limit = moreWatches(s.Directories + s.Unwatched)
	}
}

// grown returns the age of the tree.
func (a *watches) grown() uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.age
}

// purge forgets the directories whose watch is older than age. It is called after a sweep
// of the whole tree that began at that age and did not find them: the event of their end
// was lost.
func (a *watches) purge(age uint32) {
	a.mu.Lock()
	stale := a.set.older(age)
	a.mu.Unlock()
	for _, path := range stale {
		a.forget(path)
	}
}
