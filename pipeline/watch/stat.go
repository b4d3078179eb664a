// SPDX-License-Identifier: Apache-2.0

package watch

import "io/fs"

// Time is a point in time: seconds since 1970 UTC, and nanoseconds. It can hold each time
// that a file system can.
type Time struct {
	Sec  int64
	Nsec int32
}

// Stat is the version and the kind of a file. On Windows Inode is the file id, Dev the
// serial number of the volume, and Ctime the ChangeTime.
type Stat struct {
	Size         int64 // bytes
	Mtime, Ctime Time
	Inode, Dev   uint64
	Mode         fs.FileMode
	Owner        uint32 // its user; 0 on Windows
}

// Same reports whether s and o are the same version of the same file: size, mtime,
// inode and ctime are equal.
func (s Stat) Same(o Stat) bool {
	return s.Size == o.Size && s.Mtime == o.Mtime && s.Inode == o.Inode && s.Ctime == o.Ctime
}

// place identifies a directory, even if it is renamed.
type place struct {
	dev, inode uint64
}

func (s Stat) place() place { return place{s.Dev, s.Inode} }

// Kind returns the reason of Refusal and Skipped for this kind of file: "" for a regular
// file.
func (s Stat) Kind() string {
	switch {
	case s.Mode.IsRegular():
		return ""
	case s.Mode.IsDir():
		return "directory"
	case s.Mode&fs.ModeSymlink != 0:
		return "symlink"
	case s.Mode&fs.ModeNamedPipe != 0:
		return "fifo"
	case s.Mode&fs.ModeSocket != 0:
		return "socket"
	default:
		return "device"
	}
}
