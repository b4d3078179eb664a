// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package watch

import (
	"errors"
	"strconv"
	"syscall"
)

// watchLimit reports whether err means that no more directories can be watched.
func watchLimit(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// instanceLimit reports whether err means that no more trees can be watched.
func instanceLimit(err error) bool { return watchLimit(err) }

// moreWatches says what an operator must do to have need watches.
func moreWatches(need int) string {
	return "raise the number of open files to more than " + strconv.Itoa(need)
}

// moreInstances says what an operator must do about instanceLimit.
func moreInstances() string { return "raise the number of open files" }
