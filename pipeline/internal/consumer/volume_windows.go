// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"path/filepath"
)

// volume returns the root of the drive that the absolute path is on. A line that
// names a file server, a device or a pipe has no place here: to open it would send
// our user's credentials wherever the line says. A tree on a share is named as one.
func volume(path string) (root string, ok bool) {
	v := filepath.VolumeName(path)
	return v + `\`, len(v) == 2 && v[1] == ':'
}
