// SPDX-License-Identifier: Apache-2.0

package watch

// lookAfter is how many times the watches of a tree are checked after a mount came or
// went: the source may lose them a moment later.
const lookAfter = 3

// remounted looks for watches that were lost by an unmount. The system removes them
// without an event, and a file system that is mounted again at the same place can look
// as if it had never been away.
func (t *tender) remounted() {
	below, changed := t.mounts.changed(t.Path)
	hears := t.watches.standing().whole
	switch {
	case below && hears != nil:
		t.watches.spoil() // what was mounted has an ear of its own, or what lies there another path
	case below:
		t.doubt(t.Path, WhyArmed)
	}
	if changed {
		t.unsure = lookAfter
	}
	if t.unsure == 0 {
		return
	}
	t.unsure--
	if hears != nil {
		if hears.unmounted() {
			t.watches.spoil()
		}
		return
	}
	switch deaf, moved := t.watches.deaf(); {
	case deaf: // a new source trusts none of the old watches
		t.watches.spoil()
	case moved:
		t.doubt(t.Path, WhyArmed)
	}
}

// deaf looks for directories whose watch the source has lost. It reports whether one of
// them is still the same directory, and whether another directory lies at the path of
// one.
func (a *watches) deaf() (deaf, moved bool) {
	a.mu.Lock()
	source := a.source
	a.mu.Unlock()
	if source == nil || !source.Loses() {
		return false, false
	}
	// Read our set first, and the source's list second: a watch that is set in between is
	// then in the list.
	a.mu.Lock()
	ours := map[string]place{}
	a.set.nodes.all(func(r ref) {
		if a.set.nodes.of(r).watched && a.set.failure(r) == nil {
			ours[a.set.path(r)] = a.set.place(r)
		}
	})
	a.mu.Unlock()
	for _, path := range source.WatchList() {
		delete(ours, path)
	}
	for path, at := range ours {
		// A directory that is gone has an event.
		if st, err := a.lstat(path); err == nil && st.Mode.IsDir() {
			deaf = deaf || st.place() == at
			moved = moved || st.place() != at
		}
	}
	return deaf, moved
}
