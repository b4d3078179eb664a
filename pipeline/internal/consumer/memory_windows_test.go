// SPDX-License-Identifier: Apache-2.0

package consumer

import "golang.org/x/sys/windows"

// noMemory is what the system says when it has none left.
const noMemory = windows.ERROR_NOT_ENOUGH_MEMORY
