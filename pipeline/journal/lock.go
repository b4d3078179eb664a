// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io"
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
		f := flock.New(filepath.Join(dir, "."+half+".lock"), flock.SetPermissions(0o640))
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
