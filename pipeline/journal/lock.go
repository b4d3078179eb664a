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

// lock holds one half's lock in each of its folders.
type lock struct{ held []*flock.Flock }

// TakeLock implements Disk. The error names the folder that another process holds.
func (system) TakeLock(half string, dirs ...string) (io.Closer, error) {
	l := &lock{}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, errors.Join(fmt.Errorf("make folder: %w", err), l.Close())
		}
		f := flock.New(lockPath(dir, half), flock.SetFlag(os.O_CREATE|lockFlags), flock.SetPermissions(0o640))
		ok, err := f.TryLock()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), l.Close())
		}
		if !ok {
			return nil, errors.Join(fmt.Errorf("lock %s for the %s: %w", dir, half, ErrLocked), l.Close())
		}
		l.held = append(l.held, f)
	}
	return l, nil
}

// Close gives the locks back.
func (l *lock) Close() error {
	var errs []error
	for _, f := range l.held {
		errs = append(errs, f.Close())
	}
	l.held = nil
	return errors.Join(errs...)
}

func lockPath(dir, half string) string { return filepath.Join(dir, "."+half+".lock") }

// Held reports whether a process holds the lock named half in dir. It makes nothing. To
// find out it holds the lock itself for a moment.
func Held(dir, half string) (bool, error) {
	f := flock.New(lockPath(dir, half), flock.SetFlag(lockFlags))
	ok, err := f.TryRLock()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at lock of %s: %w", dir, err)
	}
	return !ok, f.Close()
}
