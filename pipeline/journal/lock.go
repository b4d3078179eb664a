// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"
)

// Lock is a half's hold on its folders.
type Lock struct{ held []*flock.Flock }

// TakeLock takes the lock named half in each folder, or returns ErrLocked with
// the folder that another process holds. The system lets go of it when the
// process ends, however it ends.
func TakeLock(half string, dirs ...string) (*Lock, error) {
	l := &Lock{}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, errors.Join(fmt.Errorf("make folder: %w", err), l.Release())
		}
		f := flock.New(filepath.Join(dir, "."+half+".lock"), flock.SetPermissions(0o640))
		ok, err := f.TryLock()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), l.Release())
		}
		if !ok {
			return nil, errors.Join(fmt.Errorf("lock %s for the %s: %w", dir, half, ErrLocked), l.Release())
		}
		l.held = append(l.held, f)
	}
	return l, nil
}

// Release lets go.
func (l *Lock) Release() error {
	var errs []error
	for _, f := range l.held {
		errs = append(errs, f.Close())
	}
	l.held = nil
	return errors.Join(errs...)
}
