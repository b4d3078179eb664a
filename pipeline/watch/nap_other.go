// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package watch

import "time"

// nap sleeps for less than a millisecond, or as close to that as the system has it.
func nap(d time.Duration) { time.Sleep(d) }
