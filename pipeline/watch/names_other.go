// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package watch

import "strings"

// real returns path as it is spelled in its folders, and reports whether that is path:
// on this system always.
func (*ground) real(path string) (string, bool) { return path, true }

// begins reports whether path begins with dir.
func begins(path, dir string) bool { return strings.HasPrefix(path, dir) }
