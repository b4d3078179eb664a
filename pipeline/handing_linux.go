// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"os"

	"github.com/certpush/certpush/pipeline/watch"
)

// OpenEar opens an ear for the file system of the folder dir, to be handed to NewEars of
// another process. Somebody must empty it as long as it is open.
func OpenEar(dir *os.File) (*os.File, error) { return watch.OpenEar(dir) }

// MountsBelow returns the paths of the mounts below the folder dir, whose path has no link.
// far are those that another host or process serves: they are not touched, for it may be away.
func MountsBelow(dir string) (near, far []string) { return watch.MountsBelow(dir) }
