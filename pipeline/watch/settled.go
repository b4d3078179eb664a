// SPDX-License-Identifier: Apache-2.0

package watch

import "time"

// Settled asks once, now, whether the file at path has settled, for files that a sweep
// found. It returns the version that it asked about. If the system cannot tell, a file
// that was last changed at least the tree's Settle ago counts as settled.
func (w *Watcher) Settled(tree int, path string) (Stat, bool) {
	t := w.trees[tree]
	var same *Stat
	if st, err := lstatBelow(t.Path, t.below(path)); err == nil && st.quietFor(t.Settle) {
		same = &st
	}
	what, st := w.ask(t, path, same, false)
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
