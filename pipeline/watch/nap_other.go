// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package watch

import "time"

// nap sleeps for less than a millisecond, or for the shortest time that the system can.
func nap(d time.Duration) { time.Sleep(d) }
