// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"path/filepath"
)

// volume returns the root of the drive that the absolute path is on. ok is false for a
// path on a file server, a device or a pipe: to open it would send our user's
// credentials to the server that the line names. To push files of a share, configure it
// as a tree.
func volume(path string) (root string, ok bool) {
	v := filepath.VolumeName(path)
	return v + `\`, len(v) == 2 && v[1] == ':'
}
