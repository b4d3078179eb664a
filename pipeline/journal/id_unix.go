// SPDX-License-Identifier: Apache-2.0

//go:build unix

package journal

import (
	"fmt"
	"os"
	"syscall"
)

// fileID returns a name of the file that stays the same when it is renamed.
func fileID(f *os.File) (string, error) {
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("stat %s: no inode", f.Name())
	}
	return fmt.Sprintf("%d-%d", sys.Dev, sys.Ino), nil
}
