// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"path/filepath"
	"sync"
)

// Medium is the file system on which a path lies.
type Medium struct {
	Kind      string // its type, such as ext4, nfs or fuse; "" if it is not known
	ID        string // its identity: equal as long as it is the same one, as far as the system can tell; "" if it cannot
	Elsewhere bool   // other hosts or processes may write it without an event here
	MadeUp    bool   // it makes up its inode numbers anew now and then
}

// media remembers which devices make up their inode numbers.
type media struct {
	mu     sync.Mutex // guards madeUp
	madeUp map[uint64]bool
}

// MadeUp reports whether the inode number of the file at path, which lies on the device
// dev, may change although the file does not.
func (w *Watcher) MadeUp(path string, dev uint64) bool {
	w.media.mu.Lock()
	is, known := w.media.madeUp[dev]
	w.media.mu.Unlock()
	if known {
		return is
	}
	m, err := MediumOf(filepath.Dir(path))
	if err != nil {
		return false
	}
	w.media.mu.Lock()
	defer w.media.mu.Unlock()
	w.media.madeUp[dev] = m.MadeUp
	return m.MadeUp
}

// Same returns what tells whether two Stats of the file at path, which lies on the device
// dev, are of one version.
func (w *Watcher) Same(path string, dev uint64) func(a, b Stat) bool {
	if w.MadeUp(path, dev) {
		return Stat.SameBut
	}
	return Stat.Same
}

// Mounted forgets which devices make up their inode numbers: their own numbers are used
// again for other file systems.
func (w *Watcher) Mounted() {
	w.media.mu.Lock()
	defer w.media.mu.Unlock()
	clear(w.media.madeUp)
}

// SameBut is Same, but the inode may be another one.
func (s Stat) SameBut(o Stat) bool {
	o.Inode = s.Inode
	return s.Same(o)
}
