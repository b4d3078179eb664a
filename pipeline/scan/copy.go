// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"bytes"
	"io"
	"os"
)

// Copy is a copy of a file's bytes that nobody can change once it is sealed. It is in the
// memory of the process; or, to be passed to a scanner by its descriptor, in a file without
// a name, in memory too. Nothing is written to a disk.
type Copy struct {
	text []byte
	file *os.File // to be passed; nil: the bytes are in text
}

// NewCopy returns an empty Copy for size bytes. The caller writes to it, seals it, and
// closes it. passed says that its descriptor will be passed to a scanner.
func NewCopy(size int64, passed bool) (*Copy, error) {
	if passed {
		return newPassed(size)
	}
	return &Copy{text: make([]byte, size)}, nil
}

// WriteAt writes a part of the bytes.
func (c *Copy) WriteAt(p []byte, at int64) (int, error) {
	if c.file != nil {
		return c.file.WriteAt(p, at)
	}
	if n := copy(c.text[at:], p); n < len(p) {
		return n, io.ErrShortWrite
	}
	return len(p), nil
}

// Seal makes the bytes unchangeable, and returns them as a File with this SHA-256. of is
// the file that they were read from.
func (c *Copy) Seal(of *os.File, size int64, sum [32]byte) (File, error) {
	if c.file == nil {
		return File{F: of, Size: size, SHA256: sum, Sealed: true, body: bytes.NewReader(c.text[:size])}, nil
	}
	if err := seal(c.file); err != nil {
		return File{}, err
	}
	return File{F: c.file, Size: size, SHA256: sum, Sealed: true}, nil
}

// Close gives the memory back. A scanner that still has the descriptor keeps it longer.
func (c *Copy) Close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}
