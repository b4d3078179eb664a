// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"
)

// errReads is the error of a write to a disk that was opened to read.
var errReads = errors.New("a look writes nothing")

// ToRead returns d so that it only reads: it makes and changes nothing, not even a lock
// file. A disk that cannot do that is returned as it is.
func ToRead(d Disk) Disk {
	if d == OS {
		return reading{}
	}
	return d
}

// reading is the disk of the machine, to be read only.
type reading struct{}

// OpenFolder implements Disk. It makes nothing.
func (r reading) OpenFolder(dir string) (Folder, error) { return r.FindFolder(dir) }

// FindFolder implements Disk.
func (reading) FindFolder(dir string) (Folder, error) {
	d, err := system{}.FindFolder(dir)
	if err != nil {
		return nil, err
	}
	return readFolder{d}, nil
}

// TakeLock implements Disk. It takes the locks shared. A lock that was never made is not
// made: then nobody can hold it.
func (reading) TakeLock(half string, dirs ...string) (io.Closer, error) {
	l := &lock{}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		f := flock.New(lockPath(dir, half), flock.SetFlag(lockFlags))
		switch ok, err := f.TryRLock(); {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), l.Close())
		case !ok:
			return nil, errors.Join(fmt.Errorf("lock %s for the %s: %w", dir, half, ErrLocked), l.Close())
		}
		l.held = append(l.held, f)
	}
	return l, nil
}

// readFolder is a Folder that only reads.
type readFolder struct{ Folder }

// Open implements Folder.
func (d readFolder) Open(name string, flag int) (File, error) {
	if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE|os.O_TRUNC) != 0 {
		return nil, d.refuse("open", name)
	}
	return d.Folder.Open(name, flag)
}

// Rename implements Folder.
func (d readFolder) Rename(from, _ string) error { return d.refuse("rename", from) }

// Remove implements Folder.
func (d readFolder) Remove(name string) error { return d.refuse("remove", name) }

func (d readFolder) refuse(op, name string) error {
	return &fs.PathError{Op: op, Path: filepath.Join(d.Path(), name), Err: errReads}
}
