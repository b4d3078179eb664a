// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package journal

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// free returns how many bytes may still be written to the file system of dir.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}
