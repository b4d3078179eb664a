// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"

	"golang.org/x/sys/windows"
)

// busy tells if err says that another program holds the file.
func busy(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_LOCK_VIOLATION)
}
