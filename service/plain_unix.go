// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package service

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openPlain opens the file at path to read. It follows no link at path, and does not wait
// for the other end of a pipe.
func openPlain(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s: %w", path, errNotPlain)
	}
	return f, err
}

// appendPlain opens the file at path to append to it, and makes it if it is missing. A
// link at path is followed only if root or we made it.
func appendPlain(path string) (*os.File, error) {
	var st unix.Stat_t
	flag := os.O_WRONLY | os.O_APPEND | os.O_CREATE
	switch err := unix.Lstat(path, &st); {
	case err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK:
		flag |= unix.O_NOFOLLOW
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s: %w, but a link that another user made", path, errNotPlain)
	}
	return os.OpenFile(path, flag, 0o600)
}
