// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"bytes"
	"errors"
	"os"
)

// canaryFile returns a File whose content is only in memory. Defender would take an
// EICAR file away from the disk before we could send it.
func canaryFile(text []byte) (File, error) {
	f, err := os.Open(os.DevNull)
	return File{F: f, body: bytes.NewReader(text)}, err
}

// deepFile returns a File whose content is made while it is sent.
func deepFile(_ string, b body) (File, error) {
	f, err := os.Open(os.DevNull)
	return File{F: f, body: b}, err
}

// ordinaryFile returns an error: no scanner takes descriptors here.
func ordinaryFile(string, []byte) (File, error) { return File{}, errors.ErrUnsupported }
