// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// special does a step that only this system has.
func (s *script) special(step string, args []string) error {
	switch step {
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
