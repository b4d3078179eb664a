// SPDX-License-Identifier: Apache-2.0

package watch

import "os"

// Within reports whether path is dir or lies below it. On Windows the letters may be
// written either way.
func Within(dir, path string) bool {
	if !begins(path, dir) {
		return false
	}
	return len(path) == len(dir) || os.IsPathSeparator(dir[len(dir)-1]) || os.IsPathSeparator(path[len(dir)])
}
