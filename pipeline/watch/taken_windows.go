// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"

	"golang.org/x/sys/windows"
)

// takenAway reports whether err is the system's error for a file that another anti-virus
// took.
func takenAway(err error) bool {
	return errors.Is(err, windows.ERROR_VIRUS_INFECTED) || errors.Is(err, windows.ERROR_VIRUS_DELETED)
}
