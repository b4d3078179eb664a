// SPDX-License-Identifier: Apache-2.0

package watch

import "strings"

// short removes the prefix that long adds.
func short(path string) string {
	if rest, is := strings.CutPrefix(path, `\\?\UNC\`); is {
		return `\\` + rest
	}
	return strings.TrimPrefix(path, `\\?\`)
}
