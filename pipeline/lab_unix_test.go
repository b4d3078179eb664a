// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pipeline

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// labEngine is the engine of a lab's tree.
const labEngine = "auto"

// hostileNames returns names of files as an attacker may choose them.
func hostileNames() []string {
	return []string{"new\nline", "esc\x1b[2J", "\xff\xfe", "\u202egnp.exe", "a\tb", strings.Repeat("n", 255), "quote\"'\\", "ok: Fake.Sig FOUND"}
}

// hold lets another program hold a file by a lease, until letGo.
func hold(t testing.TB, path string) (letGo func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		f.Close()
		t.Skipf("this file system has no leases: %v", err)
	}
	t.Cleanup(func() { f.Close() })
	return func() {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
		must(t, err)
		must(t, f.Close())
	}
}
