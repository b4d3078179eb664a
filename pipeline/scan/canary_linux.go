// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"os"

	"golang.org/x/sys/unix"
)

// canaryFile returns an open file of this content that lives in memory: clamd
// takes it for a regular file, and no on-access scanner sees it. A kernel
// without memfd gets an unlinked temporary file.
func canaryFile(text []byte) (File, error) {
	fd, err := unix.MemfdCreate("certpush-canary", unix.MFD_CLOEXEC)
	if err != nil {
		return temporaryFile(text)
	}
	return written(os.NewFile(uintptr(fd), "certpush-canary"), text)
}
