// SPDX-License-Identifier: Apache-2.0

//go:build unix

package scan

import (
	"errors"
	"fmt"
	"os"
)

// temporaryFile returns an open file of this content that has no name.
func temporaryFile(text []byte) (File, error) { return deepFile("", textBody(text)) }

// deepFile returns an open sparse file of this content in dir that has no name.
func deepFile(dir string, b body) (File, error) {
	f, err := os.CreateTemp(dir, CanaryFile)
	if err != nil {
		return File{}, fmt.Errorf("make file: %w", err)
	}
	if err := errors.Join(os.Remove(f.Name()), b.fill(f)); err != nil {
		return File{}, errors.Join(err, f.Close())
	}
	return File{F: f}, nil
}

// ordinaryFile returns an open file of this content in dir. The caller removes it.
func ordinaryFile(dir string, text []byte) (File, error) {
	f, err := os.CreateTemp(dir, CanaryFile)
	if err != nil {
		return File{}, fmt.Errorf("make file: %w", err)
	}
	made, err := written(f, text)
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return made, err
}

// written writes text to f. The offset of f stays at its start.
func written(f *os.File, text []byte) (File, error) {
	if _, err := f.WriteAt(text, 0); err != nil {
		return File{}, errors.Join(err, f.Close())
	}
	return File{F: f}, nil
}

// fill makes f, which is empty, a sparse file of this content.
func (b body) fill(f *os.File) error {
	err := f.Truncate(b.size)
	for _, t := range b.parts {
		if err == nil {
			_, err = f.WriteAt(t.text, t.at)
		}
	}
	if err != nil {
		return fmt.Errorf("write canary: %w", err)
	}
	return nil
}
