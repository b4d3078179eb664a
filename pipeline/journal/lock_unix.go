// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFlags are the flags with which a lock file is opened: no link is followed, and a
// pipe in its place does not hold us up.
const lockFlags = os.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK
