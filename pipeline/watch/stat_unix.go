// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package watch

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Lstat returns the Stat of path. If it is a symbolic link, the Stat is of the link. The
// error is an *fs.PathError.
func Lstat(path string) (Stat, error) {
	var st unix.Stat_t
	for {
		err := unix.Lstat(path, &st)
		if err == nil {
			return fromSystem(&st), nil
		}
		if err != unix.EINTR {
			return Stat{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
		}
	}
}

// follow is Lstat for the path of a tree: it follows a link.
func follow(path string) (Stat, error) {
	var st unix.Stat_t
	for {
		err := unix.Stat(path, &st)
		if err == nil {
			return fromSystem(&st), nil
		}
		if err != unix.EINTR {
			return Stat{}, &fs.PathError{Op: "stat", Path: path, Err: err}
		}
	}
}

// Fstat returns the Stat of an open file.
func Fstat(f *os.File) (Stat, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return Stat{}, fmt.Errorf("stat open file: %w", err)
	}
	var st unix.Stat_t
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.Fstat(int(fd), &st) }); err != nil {
		return Stat{}, fmt.Errorf("stat open file: %w", err)
	}
	if failed != nil {
		return Stat{}, &fs.PathError{Op: "fstat", Path: f.Name(), Err: failed}
	}
	return fromSystem(&st), nil
}

func fromSystem(st *unix.Stat_t) Stat {
	// The widths of these fields differ between systems.
	return Stat{
		Size:  int64(st.Size),
		Mtime: Time{int64(st.Mtim.Sec), int32(st.Mtim.Nsec)},
		Ctime: Time{int64(st.Ctim.Sec), int32(st.Ctim.Nsec)},
		Inode: uint64(st.Ino),
		Dev:   uint64(st.Dev),
		Mode:  fromMode(uint32(st.Mode)),
		Owner: st.Uid,
	}
}

func fromMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFREG:
	default:
		mode |= fs.ModeIrregular
	}
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// Names returns how many names the file at path has: its hard links.
func Names(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return uint64(st.Nlink), nil
}
