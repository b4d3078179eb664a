// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package store

import (
	"errors"
	"syscall"
)

// readOnly reports whether err says that the disk is mounted read-only.
func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// Exhausted reports whether err says that descriptors, memory or buffers ran out. Then
// no file can be opened.
func Exhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// busy reports whether err says that the system is to be asked again.
func busy(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ETXTBSY)
}

// troubled reports whether err is trouble of the disk that may pass: it is full, a
// quota is used up, or it fails.
func troubled(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
