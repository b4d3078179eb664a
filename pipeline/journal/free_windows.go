// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// free returns how many bytes may still be written to the file system of dir.
func free(dir string) (int64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, fmt.Errorf("ask free space of %s: %w", dir, err)
	}
	var left uint64
	if err := windows.GetDiskFreeSpaceEx(p, &left, nil, nil); err != nil {
		return 0, fmt.Errorf("ask free space of %s: %w", dir, err)
	}
	return int64(left), nil
}
