// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"path/filepath"
	"strings"
)

// ways are the forms in which path may stand in a line.
func ways(path string) []string {
	return []string{path, strings.ToUpper(path), strings.ToLower(path), filepath.ToSlash(path)}
}

// strangers are forms that lead out of every tree: relative to a drive or to its
// current folder, a file server, a stream, a device, a pipe, and those that turn the
// system's reading of a path off.
func strangers(tree string) []string {
	f := filepath.Join(tree, "d", "f")
	return []string{
		`C:f`, f[:2] + "f", f[2:], `\\localhost\C$` + f[2:], `//localhost/C$/f`, f + ":stream", f + "::$DATA",
		`\\?\` + f, `\\.\` + f, `\??\` + f, `\\?\UNC\localhost\C$\f`, `\\.\PhysicalDrive0`, `\\.\pipe\x`, `NUL`, `CON`,
	}
}
