// SPDX-License-Identifier: Apache-2.0

package consumer

import "golang.org/x/sys/windows"

// noMemory is the error of the system when it has no memory left.
const noMemory = windows.ERROR_NOT_ENOUGH_MEMORY

// removalShows is true where a removed file has another ctime.
const removalShows = false
