// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/windows"
)

const (
	heldTries = 25
	heldPause = 20 * time.Millisecond
)

// renameOver renames a file over another one. While a program reads one of the two,
// Windows may refuse that: always if that program shares no deletion (backups, virus
// scanners), and on some file systems even if it does, as we do. Such a read is short, so
// renameOver tries for half a second.
func renameOver(d Folder, from, to string) error {
	err := d.Rename(from, to)
	for n := 1; n < heldTries && held(err); n++ {
		time.Sleep(heldPause)
		err = d.Rename(from, to)
	}
	if held(err) {
		return fmt.Errorf("another program holds the file, or the account may not replace it: %w", err)
	}
	return err
}

// held reports whether a program that has the file open may be the cause of err.
func held(err error) bool {
	return errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)
}
