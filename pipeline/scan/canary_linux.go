// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"os"

	"golang.org/x/sys/unix"
)

// canaryFile returns an open file of this content in memory (memfd). clamd takes it for
// a regular file, and no on-access scanner sees it. On a kernel without memfd it is a
// temporary file without a name.
func canaryFile(text []byte) (File, error) {
	fd, err := unix.MemfdCreate("certpush-canary", unix.MFD_CLOEXEC)
	if err != nil {
		return temporaryFile(text)
	}
	return written(os.NewFile(uintptr(fd), "certpush-canary"), text)
}
