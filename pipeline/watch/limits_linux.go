// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// watchLimit reports whether err means that no more directories can be watched.
func watchLimit(err error) bool { return errors.Is(err, unix.ENOSPC) }

// instanceLimit reports whether err means that no more trees can be watched.
func instanceLimit(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// moreWatches says what an operator must do to have need watches.
func moreWatches(need int) string {
	return "set fs.inotify.max_user_watches to at least " + strconv.Itoa(need) + " with sysctl"
}

// moreInstances says what an operator must do about instanceLimit.
func moreInstances() string {
	return "raise fs.inotify.max_user_instances with sysctl, or the number of open files"
}
