// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// writer asks the system for a read lease and gives it back at once. The system grants
// the lease only while no program has the file open for writing. st is the Stat of a
// moment ago. The Stat that writer returns is from while it held the lease; if it got
// none, it is older.
func writer(root, rel string, st Stat, _ *Stat) (finding, Stat) {
	f, now, err := Open(root, rel)
	switch {
	case errors.Is(err, ErrBusy):
		return written, st
	case errors.Is(err, fs.ErrNotExist):
		return missing, st
	case linked(err):
		return missing, st // it is behind a link, so it is not in the tree
	case err != nil:
		return unsure, st
	}
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return unsure, now
	}
	what := unsure
	if err := raw.Control(func(fd uintptr) { what, now = lease(int(fd), now) }); err != nil {
		return unsure, now
	}
	return what, now
}

// Writing reports whether a program has f open for writing now, also through a memory
// map. It returns false if the system cannot tell.
func Writing(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	what := unsure
	if err := raw.Control(func(fd uintptr) { what, _ = lease(int(fd), Stat{}) }); err != nil {
		return false
	}
	return what == written
}

// lease takes a read lease on fd and gives it back. It returns the Stat from while it
// held the lease, or st if it got none.
func lease(fd int, st Stat) (finding, Stat) {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	if err != nil {
		if err == unix.EAGAIN && !remote(fd) {
			return written, st
		}
		return unsure, st
	}
	var held unix.Stat_t
	if err = unix.Fstat(fd, &held); err == nil {
		st = fromSystem(&held)
	}
	what := settled
	if err == nil && held.Nlink == 0 {
		what = missing // it was removed since it was opened: that changes the ctime, and looks like a new version
	}
	// If this fails, the close that follows ends the lease.
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	return what, st
}

// remote reports whether fd lies on a file system that may answer EAGAIN to a lease even
// if no program writes the file. It returns true if that is not known.
func remote(fd int) bool {
	var s unix.Statfs_t
	if unix.Fstatfs(fd, &s) != nil {
		return true
	}
	return kindOf(uint32(s.Type)).elsewhere
}
