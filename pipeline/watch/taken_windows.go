// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"

	"golang.org/x/sys/windows"
)

// takenAway reports whether err is how the system says that another anti-virus is at it.
func takenAway(err error) bool {
	return errors.Is(err, windows.ERROR_VIRUS_INFECTED) || errors.Is(err, windows.ERROR_VIRUS_DELETED)
}
