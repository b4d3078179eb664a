// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"os"
)

// openPlain opens the file at path to read, unless it is a link.
func openPlain(path string) (*os.File, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, errNotPlain)
	}
	return os.Open(path)
}

// appendPlain opens the file at path to append to it, and makes it if it is missing.
func appendPlain(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}
