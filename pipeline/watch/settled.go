// SPDX-License-Identifier: Apache-2.0

package watch

import "time"

// Settled asks once, now, whether the file at path has settled, for files that somebody
// named. It returns the version that it asked about. If the system cannot tell, a file
// that was last changed at least the tree's Settle ago counts as settled.
func (w *Watcher) Settled(tree int, path string) (Stat, bool) {
	t := w.trees[tree]
	same := t.rested(lstatBelow(t.Path, t.below(path)))
	what, st := w.ask(t, path, same, false)
	return t.settles(what, st, same)
}

// Settled is a Watcher's Settled for an entry of a folder that its sweep lists now. The
// listing was the look at it, and the folder's own descriptor leads to it.
func (f Folder) Settled(e Entry) (Stat, bool) {
	t, path := f.tree, join(f.Path, e.Name)
	same := t.rested(e.Stat, nil)
	what, st := t.w.asked(t, path, e.Stat, false, func(st Stat) (finding, Stat) {
		return writerIn(f.dir, t.Path, t.below(path), e.Name, st, same)
	})
	return t.settles(what, st, same)
}

// rested returns st if the file has been left alone for the tree's Settle, and otherwise
// nil.
func (t *tree) rested(st Stat, err error) *Stat {
	if err != nil || !st.quietFor(t.Settle) {
		return nil
	}
	return &st
}

// settles turns what was found into the answer of Settled.
func (t *tree) settles(what finding, st Stat, same *Stat) (Stat, bool) {
	if t.Quiet > 0 && !st.quietFor(t.Quiet) {
		return st, false
	}
	return st, what == settled || what == unsure && same != nil && st.Same(*same)
}

// quietFor reports whether the file was last changed at least d ago.
func (s Stat) quietFor(d time.Duration) bool {
	before := time.Now().Add(-d)
	return time.Unix(s.Mtime.Sec, int64(s.Mtime.Nsec)).Before(before) && time.Unix(s.Ctime.Sec, int64(s.Ctime.Nsec)).Before(before)
}
