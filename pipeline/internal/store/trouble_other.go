// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package store

import (
	"errors"
	"syscall"
)

// readOnly reports whether err is that of a disk mounted to be read only.
func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// Exhausted reports whether err is the want of something that any file needs.
func Exhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// troubled reports whether err is the disk's doing, and may pass.
func troubled(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
