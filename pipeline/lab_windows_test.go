// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

// labEngine is the engine of a lab's tree: auto may take two seconds to choose.
const labEngine = "fsnotify"

// hostileNames returns names of files as an attacker may choose them. NTFS takes no
// control characters. It takes half a surrogate pair, which is not UTF-8; Wine does
// not.
func hostileNames() []string {
	return []string{"\u0085\u2028x", "\u202egnp.exe", strings.Repeat("n", 255), "%PATH%^&'", "ok Fake.Sig FOUND", "GIT~1"}
}

// hold lets another program hold a file that it does not share, until letGo.
func hold(t testing.TB, path string) (letGo func()) {
	t.Helper()
	name, err := windows.UTF16PtrFromString(path)
	must(t, err)
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING, 0, 0)
	must(t, err)
	return func() { must(t, windows.CloseHandle(h)) }
}
