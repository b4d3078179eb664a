// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package scan

import "os"

// newPassed returns a Copy in the memory of the process: on this system there is no file
// that can be sealed, so the scanner gets the bytes.
func newPassed(size int64) (*Copy, error) { return NewCopy(size, false) }

// seal has nothing to seal: newPassed makes no file.
func seal(*os.File) error { return nil }
