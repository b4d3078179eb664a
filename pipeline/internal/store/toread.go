// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/journal"
)

// errReads is the error of a write to a store that was opened to read.
var errReads = errors.New("a look writes nothing")

// ToRead returns d so that it only reads, and opens no link in place of a file of ours.
// A disk that cannot do that is returned as it is.
func (d Disk) ToRead() Disk {
	if r := journal.ToRead(d.Disk); r != d.Disk {
		return Disk{r, readFS{d.Pebble}}
	}
	return d
}

// readFS is a disk of Pebble that only reads. The locks of the state folder, which a look
// holds, keep others from the store.
type readFS struct{ vfs.FS }

// Open implements vfs.FS.
func (r readFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if st, err := os.Lstat(name); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: not a regular file: move it away", name)
	}
	return r.FS.Open(name, opts...)
}

// Lock implements vfs.FS. It makes no file.
func (readFS) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// Create implements vfs.FS.
func (readFS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, refused("create", name)
}

// OpenReadWrite implements vfs.FS.
func (readFS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	return nil, refused("open", name)
}

// ReuseForWrite implements vfs.FS.
func (readFS) ReuseForWrite(name, _ string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, refused("rename", name)
}

// Link implements vfs.FS.
func (readFS) Link(name, _ string) error { return refused("link", name) }

// Rename implements vfs.FS.
func (readFS) Rename(name, _ string) error { return refused("rename", name) }

// Remove implements vfs.FS.
func (readFS) Remove(name string) error { return refused("remove", name) }

// RemoveAll implements vfs.FS.
func (readFS) RemoveAll(name string) error { return refused("remove", name) }

// MkdirAll implements vfs.FS. A folder that is there is no error.
func (readFS) MkdirAll(name string, _ os.FileMode) error {
	if st, err := os.Lstat(name); err == nil && st.IsDir() {
		return nil
	}
	return refused("make", name)
}

func refused(op, name string) error { return fmt.Errorf("%s %s: %w", op, name, errReads) }
