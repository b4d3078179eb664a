// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// writer asks the system for a read lease on rel below root. The system grants it only
// while no program has the file open for writing. st is the Stat of a moment ago. The Stat
// that writer returns is from while it held the lease; if it got none, it may be older.
func writer(root, rel string, st Stat, _ *Stat) (finding, Stat) {
	dir, err := openRoot(root)
	if err != nil {
		return unopened(refuse(root, err)), st
	}
	defer unix.Close(dir)
	return leased(dir, rel, st)
}

// writerIn is writer for a name in a folder that is open.
func writerIn(dir *os.File, _, _, name string, st Stat, _ *Stat) (finding, Stat) {
	raw, err := dir.SyscallConn()
	if err != nil {
		return unsure, st
	}
	what := unsure
	if err := raw.Control(func(fd uintptr) { what, st = leased(int(fd), name, st) }); err != nil {
		return unsure, st
	}
	return what, st
}

// unopened returns what an error of an open says of the file.
func unopened(err error) finding {
	switch {
	case errors.Is(err, ErrBusy):
		return written
	case errors.Is(err, fs.ErrNotExist), linked(err): // behind a link it is not in the tree
		return missing
	}
	return unsure
}

// leased is writer below an open folder. The caller has seen that the file is a regular one.
func leased(dir int, rel string, st Stat) (finding, Stat) {
	fd, err := openBelow(dir, rel, readOnly)
	if err != nil {
		return unopened(refuse(rel, err)), st
	}
	defer unix.Close(fd) // it ends the lease
	what := lease(fd)
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return what, st
	}
	if st = fromSystem(&now); st.Kind() != "" || now.Nlink == 0 {
		return missing, st // it was replaced or removed since then; that also changes the ctime, and looks like a new version
	}
	return what, st
}

// Writing reports whether a program has f open for writing now, also through a memory
// map. It returns false if the system cannot tell.
func Writing(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	what := unsure
	err = raw.Control(func(fd uintptr) {
		if what = lease(int(fd)); what == settled {
			// If this fails, the close of the file ends the lease.
			_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
		}
	})
	return err == nil && what == written
}

// lease takes a read lease on fd, if no program writes the file.
func lease(fd int) finding {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	switch {
	case err == nil:
		return settled
	case err == unix.EAGAIN && !remote(fd):
		return written
	}
	return unsure
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
