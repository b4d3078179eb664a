// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"path/filepath"
	"strings"
)

// ways returns the forms in which path may stand in a line.
func ways(path string) []string {
	return []string{path, strings.ToUpper(path), strings.ToLower(path), filepath.ToSlash(path)}
}

// strangers returns paths that lead out of every tree: relative to a drive or to its
// current folder, to a file server, a stream, a device or a pipe, and paths with a prefix
// that the system does not interpret.
func strangers(tree string) []string {
	f := filepath.Join(tree, "d", "f")
	return []string{
		`C:f`, f[:2] + "f", f[2:], `\\localhost\C$` + f[2:], `//localhost/C$/f`, f + ":stream", f + "::$DATA",
		`\\?\` + f, `\\.\` + f, `\??\` + f, `\\?\UNC\localhost\C$\f`, `\\.\PhysicalDrive0`, `\\.\pipe\x`, `NUL`, `CON`,
	}
}
