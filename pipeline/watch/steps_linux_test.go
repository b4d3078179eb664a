// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// special does a step that only this system has.
func (s *script) special(step string, args []string) error {
	switch step {
	case "heard": // a folder is heard before it is listed
		return nil
	case "fifo":
		return unix.Mkfifo(s.path(args[0]), 0o644)
	case "socket":
		return unix.Mknod(s.path(args[0]), unix.S_IFSOCK|0o644, 0)
	case "tmpfile": // it is made without a name, and then linked to its name
		path := s.path(args[0])
		fd, err := unix.Open(filepath.Dir(path), unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, err := unix.Write(fd, []byte(args[1])); err != nil {
			return err
		}
		return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	}
	return fmt.Errorf("unknown step")
}

// silent returns nil if engine reports events of folders that were made before it began,
// and otherwise why it does not.
func silent(string) error { return nil }

// burst returns how many files, each four folders deep, a test makes at once. Four times
// as many need about as many watches as most systems allow.
func burst(string) int { return 5000 }

// able skips a test whose engine cannot be had here. In CI, as root, it must be.
func able(t testing.TB, engine string) {
	t.Helper()
	if engine != "fanotify" {
		return
	}
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	f, err := OpenEar(dir)
	if err == nil {
		f.Close()
		return
	}
	if os.Getenv("CI") == "true" && os.Getuid() == 0 {
		t.Fatalf("engine fanotify cannot be had: %v: run the tests with CAP_SYS_ADMIN, on ext4, xfs or tmpfs", err)
	}
	t.Skipf("engine fanotify cannot be had: %v", err)
}
