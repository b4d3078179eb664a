// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/journal"
)

// Disk is the disk of the state: as our files use it, and as Pebble does.
type Disk struct {
	journal.Disk
	Pebble vfs.FS
}

// Folders are the open folders of the state.
type Folders struct {
	State, Journal, Cursors journal.Folder
	First                   uint64 // the number for the first segment of an empty journal
}

// OpenFolders opens the state folder, the journal folder and the folder of the cursors.
// It makes those that are missing.
func OpenFolders(d Disk, state, journalDir string) (_ *Folders, err error) {
	f := &Folders{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open state: %w", err), f.Close())
		}
	}()
	if f.State, err = d.OpenFolder(state); err != nil {
		return nil, err
	}
	f.First = firstSegment(f.State)
	if f.Journal, err = d.OpenFolder(journalDir); err != nil {
		return nil, err
	}
	f.Cursors, err = d.OpenFolder(filepath.Join(state, "cursors"))
	return f, err
}

// firstSegment returns the number for the first segment of an empty journal. If the
// state has outcomes already, they belong to lines of a journal that was deleted. No
// number may come again, because new lines would count as finished: then it is the time
// in Unix milliseconds.
func firstSegment(state journal.Folder) uint64 {
	for _, name := range []string{"ledger", "cursors", "index"} {
		if _, err := state.Lstat(name); err == nil {
			return uint64(max(time.Now().UnixMilli(), 1))
		}
	}
	return 1
}

// Close closes the folders that are open.
func (f *Folders) Close() error {
	var errs []error
	for _, d := range []journal.Folder{f.State, f.Journal, f.Cursors} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}

// ErrNoState is the error of a look into a state folder that no run has made yet.
var ErrNoState = errors.New("there is no state yet: start certpush, or name its file with -c")
