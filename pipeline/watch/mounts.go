// SPDX-License-Identifier: Apache-2.0

package watch

// lookAfter is how many times a tree is looked at once more after a mount came or
// went: the source may be told of it a moment later.
const lookAfter = 3

// remounted looks for watches that went with an unmount. The system takes them
// away without an event, and what is mounted again in the same place can look as
// if it had never been away.
func (t *tender) remounted() {
	below, changed := t.mounts.changed(t.Path)
	if below {
		t.doubt(t.Path, WhyArmed)
	}
	if changed {
		t.unsure = lookAfter
	}
	if t.unsure == 0 {
		return
	}
	t.unsure--
	switch deaf, moved := t.watches.deaf(); {
	case deaf: // a new source trusts none of the old watches
		t.watches.spoil()
	case moved:
		t.doubt(t.Path, WhyArmed)
	}
}

// deaf reports whether a directory that is there has lost its watch, and whether one that had
// lost it is another by now.
func (a *watches) deaf() (deaf, moved bool) {
	a.mu.Lock()
	source := a.source
	a.mu.Unlock()
	if source == nil {
		return false, false
	}
	// Ours first: one that is set meanwhile is in the source's list.
	a.mu.Lock()
	ours := map[string]place{}
	for path, e := range a.set.byPath {
		if e.watched && e.failed == nil {
			ours[path] = e.place
		}
	}
	a.mu.Unlock()
	for _, path := range source.WatchList() {
		delete(ours, path)
	}
	for path, at := range ours {
		// One that is gone has its event, or had it.
		if st, err := a.lstat(path); err == nil && st.Mode.IsDir() {
			deaf = deaf || st.place() == at
			moved = moved || st.place() != at
		}
	}
	return deaf, moved
}
