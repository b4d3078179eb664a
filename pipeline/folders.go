// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/journal"
)

// disk is where the state lies: as files, and as Pebble sees it.
type disk struct {
	journal.Disk
	store vfs.FS
}

// folders are the open folders of the state.
type folders struct {
	state, journal, cursors journal.Folder
	first                   uint64 // number of the first segment in an empty journal
}

// openFolders opens what c names, and makes what is missing.
func openFolders(c Config) (_ *folders, err error) {
	f := &folders{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open state: %w", err), f.close())
		}
	}()
	if f.state, err = c.disk.OpenFolder(c.State); err != nil {
		return nil, err
	}
	f.first = firstSegment(f.state)
	if f.journal, err = c.disk.OpenFolder(c.Journal.Dir); err != nil {
		return nil, err
	}
	f.cursors, err = c.disk.OpenFolder(filepath.Join(c.State, "cursors"))
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

func (f *folders) close() error {
	var errs []error
	for _, d := range []journal.Folder{f.state, f.journal, f.cursors} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}
