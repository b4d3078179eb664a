// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Copy is a copy of a file's bytes that nobody can change once it is sealed. On Linux it
// is a sealed memfd, so its descriptor can be passed to a scanner.
type Copy struct{ f *os.File }

// NewCopy returns an empty Copy. The caller writes to it, seals it, and closes it. size
// is how many bytes it will have.
func NewCopy(int64) (*Copy, error) {
	fd, err := unix.MemfdCreate("certpush-sample", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make copy: %w", err)
	}
	return &Copy{os.NewFile(uintptr(fd), "certpush-sample")}, nil
}

// WriteAt writes a part of the bytes.
func (c *Copy) WriteAt(p []byte, at int64) (int, error) { return c.f.WriteAt(p, at) }

// Seal makes the bytes unchangeable, and returns them as a File with this SHA-256.
func (c *Copy) Seal(size int64, sum [32]byte) (File, error) {
	const all = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(c.f.Fd(), unix.F_ADD_SEALS, all); err != nil {
		return File{}, fmt.Errorf("seal copy: %w", err)
	}
	return File{F: c.f, Size: size, SHA256: sum, Sealed: true}, nil
}

// Close gives the memory back. A scanner that still has the descriptor keeps it longer.
func (c *Copy) Close() error { return c.f.Close() }
