// SPDX-License-Identifier: Apache-2.0

package watch

import "strings"

// short takes away what long puts before a path.
func short(path string) string {
	if rest, is := strings.CutPrefix(path, `\\?\UNC\`); is {
		return `\\` + rest
	}
	return strings.TrimPrefix(path, `\\?\`)
}
