// SPDX-License-Identifier: Apache-2.0

//go:build unix

package scan

import (
	"errors"
	"os"
)

// temporaryFile returns an open file of this content that has no name.
func temporaryFile(text []byte) (File, error) {
	f, err := os.CreateTemp("", "certpush-canary-")
	if err != nil {
		return File{}, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return File{}, errors.Join(err, f.Close())
	}
	return written(f, text)
}

// written writes text to f. The offset of f stays at its start.
func written(f *os.File, text []byte) (File, error) {
	if _, err := f.WriteAt(text, 0); err != nil {
		return File{}, errors.Join(err, f.Close())
	}
	return File{F: f}, nil
}
