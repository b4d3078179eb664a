// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"

	"golang.org/x/sys/windows"
)

// readOnly reports whether err says that the disk is write-protected.
func readOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// Exhausted reports whether err says that handles, memory or buffers ran out. Then no
// file can be opened.
func Exhausted(err error) bool {
	for _, e := range []error{windows.ERROR_TOO_MANY_OPEN_FILES, windows.ERROR_NO_SYSTEM_RESOURCES, windows.ERROR_NOT_ENOUGH_MEMORY, windows.ERROR_OUTOFMEMORY, windows.ERROR_COMMITMENT_LIMIT, windows.WSAENOBUFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// busy reports whether err says that another program holds the file.
func busy(err error) bool {
	for _, e := range []error{windows.ERROR_SHARING_VIOLATION, windows.ERROR_LOCK_VIOLATION, windows.ERROR_USER_MAPPED_FILE, windows.ERROR_BUSY, windows.ERROR_NOT_READY} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// troubled reports whether err is trouble of the disk that may pass: it is full, a
// quota is used up, or it fails.
func troubled(err error) bool {
	for _, e := range []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED, windows.ERROR_IO_DEVICE, windows.ERROR_CRC} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
