// SPDX-License-Identifier: Apache-2.0

package watch

import "os"

// Within reports whether path is dir or lies below it. Both are clean. On Windows case
// does not matter.
func Within(dir, path string) bool {
	if !begins(path, dir) {
		return false
	}
	return len(path) == len(dir) || os.IsPathSeparator(dir[len(dir)-1]) || os.IsPathSeparator(path[len(dir)])
}
