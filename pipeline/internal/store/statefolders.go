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

// Disk is where the state lies: as files, and as Pebble sees it.
type Disk struct {
	journal.Disk
	Pebble vfs.FS
}

// Folders are the open folders of the state.
type Folders struct {
	State, Journal, Cursors journal.Folder
	First                   uint64 // number of the first segment in an empty journal
}

// OpenFolders opens the state folder and those in it, and makes what is missing.
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

// firstSegment returns the number of the first segment of an empty journal. A
// state folder that has outcomes already remembers lines of a journal that was
// deleted: no number may come twice, or new lines would count as finished.
func firstSegment(state journal.Folder) uint64 {
	for _, name := range []string{"ledger", "cursors", "index"} {
		if _, err := state.Lstat(name); err == nil {
			return uint64(max(time.Now().UnixMilli(), 1))
		}
	}
	return 1
}

func (f *Folders) Close() error {
	var errs []error
	for _, d := range []journal.Folder{f.State, f.Journal, f.Cursors} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}

// ErrNoState is in the error of what looks things up in a state folder that no
// run has made yet.
var ErrNoState = errors.New("there is no state yet: start certpush, or name its file with -c")
