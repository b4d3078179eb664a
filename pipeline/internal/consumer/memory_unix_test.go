// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package consumer

import "syscall"

// noMemory is what the system says when it has none left.
const noMemory = syscall.ENOMEM
