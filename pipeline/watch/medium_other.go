// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package watch

import "strconv"

// MediumOf returns the file system on which the folder at path lies: on Windows it is
// known by the serial number of its volume, elsewhere by the number of its device.
func MediumOf(path string) (Medium, error) {
	st, err := Lstat(path)
	if err != nil {
		return Medium{}, err
	}
	return Medium{ID: strconv.FormatUint(st.Dev, 16)}, nil
}
