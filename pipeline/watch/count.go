// SPDX-License-Identifier: Apache-2.0

package watch

// This file counts the watches: for the state of a tree, for its reports, for a sweep.

// count returns how many directories have a watch and how many should have one, and
// the error of a limit that was reached.
func (a *watches) count() (watched, unwatched int, limit error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.set.watched, a.set.unwatched, a.limited()
}

// lacking returns how many directories have no watch. limit reports whether the reason is
// a limit of the system, or that it gave no source at all.
func (a *watches) lacking() (unwatched int, limit bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.set.unwatched, a.full != nil || a.limited() != nil
}

// limited returns the error of a watch limit that was reached. The caller holds mu.
func (a *watches) limited() error {
	if a.set.unwatched == 0 {
		return nil
	}
	return a.set.limit
}

// state sets the fields of s that are about the watches.
func (a *watches) state(s *TreeState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Engine, s.Armed, s.Directories, s.Unwatched = a.engine, a.armed, a.set.watched, a.set.unwatched
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
func (a *watches) grown() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.age
}

// purge forgets the directories whose watch is older than age. It is called after a sweep
// of the whole tree that began at that age and did not find them: the event of their end
// was lost.
func (a *watches) purge(age uint64) {
	a.mu.Lock()
	stale := a.set.older(age)
	a.mu.Unlock()
	for _, path := range stale {
		a.forget(path)
	}
}
