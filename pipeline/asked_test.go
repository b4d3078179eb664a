// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// asked is a disk of Pebble. Before each operation that changes something it asks the
// test, as disktest.Disk does. The operation may fail, with or without its effect, or
// succeed without effect.
type asked struct {
	vfs.FS
	before func(disktest.Op) error
}

// do asks, and applies the operation unless it is refused.
func (a *asked) do(kind, path string, apply func() error) error {
	refused := a.before(disktest.Op{Kind: "store " + kind, Path: path})
	var applied disktest.Applied
	switch {
	case errors.Is(refused, disktest.ErrSkip):
		return nil
	case refused == nil:
		return apply()
	case !errors.As(refused, &applied):
		return &os.PathError{Op: kind, Path: path, Err: refused}
	}
	if err := apply(); err != nil {
		return err
	}
	return &os.PathError{Op: kind, Path: path, Err: applied.Err}
}

func (a *asked) opened(kind, path string, open func() (vfs.File, error)) (f vfs.File, err error) {
	err = a.do(kind, path, func() (err error) { f, err = open(); return err })
	if err != nil {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		return nil, err
	}
	return askedFile{f, a, path}, nil
}

// Create implements vfs.FS.
func (a *asked) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return a.opened("create", name, func() (vfs.File, error) { return a.FS.Create(name, c) })
}

// OpenReadWrite implements vfs.FS.
func (a *asked) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return a.opened("create", name, func() (vfs.File, error) { return a.FS.OpenReadWrite(name, c, o...) })
}

// ReuseForWrite implements vfs.FS.
func (a *asked) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return a.opened("reuse", to, func() (vfs.File, error) { return a.FS.ReuseForWrite(from, to, c) })
}

// OpenDir implements vfs.FS. It changes nothing, but the folder that it opens will be
// synced.
func (a *asked) OpenDir(name string) (vfs.File, error) {
	f, err := a.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return askedFile{f, a, name}, nil
}

// Rename implements vfs.FS.
func (a *asked) Rename(from, to string) error {
	return a.do("rename", to, func() error { return a.FS.Rename(from, to) })
}

// Link implements vfs.FS.
func (a *asked) Link(from, to string) error {
	return a.do("link", to, func() error { return a.FS.Link(from, to) })
}

// Remove implements vfs.FS.
func (a *asked) Remove(name string) error {
	return a.do("remove", name, func() error { return a.FS.Remove(name) })
}

// MkdirAll implements vfs.FS.
func (a *asked) MkdirAll(dir string, mode os.FileMode) error {
	return a.do("mkdir", dir, func() error { return a.FS.MkdirAll(dir, mode) })
}

type askedFile struct {
	vfs.File
	a    *asked
	path string
}

// Write implements vfs.File. A failure that takes effect leaves half of the bytes.
func (f askedFile) Write(b []byte) (n int, err error) {
	refused := f.a.before(disktest.Op{Kind: "store write", Path: f.path})
	var applied disktest.Applied
	switch {
	case errors.Is(refused, disktest.ErrSkip):
		return len(b), nil
	case refused == nil:
		return f.File.Write(b)
	case errors.As(refused, &applied):
		if n, err = f.File.Write(b[:len(b)/2]); err != nil {
			return n, err
		}
		refused = applied.Err
	}
	return n, &os.PathError{Op: "write", Path: f.path, Err: refused}
}

// Sync implements vfs.File.
func (f askedFile) Sync() error { return f.a.do("sync", f.path, f.File.Sync) }

// SyncData implements vfs.File.
func (f askedFile) SyncData() error { return f.a.do("sync", f.path, f.File.SyncData) }

// SyncTo implements vfs.File.
func (f askedFile) SyncTo(n int64) (full bool, err error) {
	err = f.a.do("sync", f.path, func() (err error) { full, err = f.File.SyncTo(n); return err })
	return full, err
}
