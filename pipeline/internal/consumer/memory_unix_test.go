// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package consumer

import "syscall"

// noMemory is the error of the system when it has no memory left.
const noMemory = syscall.ENOMEM

// removalShows is true where a removed file has another ctime.
const removalShows = true
