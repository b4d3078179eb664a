// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// real returns path as it is written in its folders below the tree, and reports whether it
// is path. A file can be told of in other letters, as after a rename that changes
// nothing else, and by its short name (FOLDER~1): without this it would come out
// twice. It is empty when path is gone.
func (g *ground) real(path string) (string, bool) {
	var names []string
	for at := path; len(at) > len(g.Path) && Within(g.Path, at); at = filepath.Dir(at) {
		name, err := windows.UTF16PtrFromString(long(at))
		if err != nil {
			return "", false
		}
		var found windows.Win32finddata
		h, err := windows.FindFirstFile(name, &found)
		if err != nil {
			return "", false
		}
		// It was only read.
		_ = windows.FindClose(h)
		names = append(names, windows.UTF16ToString(found.FileName[:]))
	}
	whole := g.Path
	for i := len(names) - 1; i >= 0; i-- {
		whole = join(whole, names[i])
	}
	if whole == path {
		return path, true
	}
	// In a folder that tells capitals apart, as WSL makes them, both are there.
	asked, err := Lstat(path)
	if err != nil {
		return "", false
	}
	if found, err := Lstat(whole); err == nil && found.place() != asked.place() {
		return path, true
	}
	return whole, false
}

// begins reports whether path begins with dir, whatever letters either is written in.
func begins(path, dir string) bool {
	return len(path) >= len(dir) && strings.EqualFold(path[:len(dir)], dir)
}
