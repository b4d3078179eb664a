// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pipeline

import (
	"strings"
	"syscall"
)

// hostileNames are names of files that an attacker may choose.
func hostileNames() []string {
	return []string{"new\nline", "esc\x1b[2J", "\xff\xfe", "\u202egnp.exe", "a\tb", strings.Repeat("n", 255), "quote\"'\\", "ok: Fake.Sig FOUND"}
}

// removalShows tells if a removed file has another ctime.
const removalShows = true

// noMemory is what the system says when it has none left.
const noMemory = syscall.ENOMEM
