// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// real returns path as it is spelled in its folders below the tree, and reports whether
// that is path. It returns "" if path is gone. An event may name a file in another case,
// as after a rename that changes only the case, or by its short name (FOLDER~1). Without
// real such a file would come out twice.
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
		_ = windows.FindClose(h) // it was only read: an error loses nothing
		names = append(names, windows.UTF16ToString(found.FileName[:]))
	}
	whole := g.Path
	for i := len(names) - 1; i >= 0; i-- {
		whole = join(whole, names[i])
	}
	if whole == path {
		return path, true
	}
	// In a folder in which case matters, as WSL makes them, both may exist.
	asked, err := Lstat(path)
	if err != nil {
		return "", false
	}
	if found, err := Lstat(whole); err == nil && found.place() != asked.place() {
		return path, true
	}
	return whole, false
}

// begins reports whether path begins with dir. Case does not matter.
func begins(path, dir string) bool {
	return len(path) >= len(dir) && strings.EqualFold(path[:len(dir)], dir)
}
