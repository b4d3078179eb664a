// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits tells what the system allows.
func Limits() Limit {
	return Limit{
		Watches:      sysctl("max_user_watches"),
		QueuedEvents: sysctl("max_queued_events"),
		Instances:    sysctl("max_user_instances"),
	}
}

// sysctl reads one of the inotify limits, zero if it cannot be read.
func sysctl(name string) int {
	text, err := os.ReadFile("/proc/sys/fs/inotify/" + name)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return n
}

// watchLimit tells if err means that no more directories can be watched.
func watchLimit(err error) bool { return errors.Is(err, unix.ENOSPC) }

// instanceLimit tells if err means that no more trees can be watched.
func instanceLimit(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// moreWatches is what the operator does about watchLimit.
func moreWatches(need int) string {
	return "set fs.inotify.max_user_watches to at least " + strconv.Itoa(need) + " with sysctl"
}

// moreInstances is what the operator does about instanceLimit.
func moreInstances() string {
	return "raise fs.inotify.max_user_instances with sysctl, or the number of open files"
}
