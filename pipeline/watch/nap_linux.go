// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap sleeps for less than a millisecond. It does not use a timer, because an idle Go
// runtime waits in epoll, which counts in whole milliseconds: a timer of 0.2 ms would
// take five times as long. Half of the time from close to journal is this nap.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	unix.Nanosleep(&ts, nil) //nolint:errcheck // a nap cut short by a signal is a shorter nap
}
