// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Lstat returns the Stat of path. If it is a symbolic link, the Stat is of the link. The
// error is an *fs.PathError.
func Lstat(path string) (Stat, error) {
	return statPath(path, windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT)
}

// follow is Lstat for the path of a tree: it follows a link.
func follow(path string) (Stat, error) {
	return statPath(path, windows.FILE_FLAG_BACKUP_SEMANTICS)
}

// Fstat returns the Stat of an open file.
func Fstat(f *os.File) (Stat, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return Stat{}, fmt.Errorf("stat open file: %w", err)
	}
	var st Stat
	var failed error
	if err := raw.Control(func(fd uintptr) { st, failed = statHandle(windows.Handle(fd)) }); err != nil {
		return Stat{}, fmt.Errorf("stat open file: %w", err)
	}
	if failed != nil {
		return Stat{}, &fs.PathError{Op: "fstat", Path: f.Name(), Err: failed}
	}
	return st, nil
}

func statPath(path string, flags uint32) (Stat, error) {
	h, err := openHandle(path, windows.FILE_READ_ATTRIBUTES, shareAll, flags)
	if Taken(err) {
		return listed(path)
	}
	if err != nil {
		return Stat{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	defer windows.CloseHandle(h)
	st, err := statHandle(h)
	if err != nil {
		return Stat{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return st, nil
}

// listed is Lstat for a file that cannot be opened at all. It reads the entry in the
// folder, so Inode, Dev and Ctime are zero.
func listed(path string) (Stat, error) {
	name, err := windows.UTF16PtrFromString(long(path))
	if err != nil {
		return Stat{}, &fs.PathError{Op: "lstat", Path: path, Err: windows.ERROR_INVALID_NAME}
	}
	var found windows.Win32finddata
	h, err := windows.FindFirstFile(name, &found)
	if err != nil {
		return Stat{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	_ = windows.FindClose(h) // it was only read: an error loses nothing
	mode := fs.FileMode(0o666)
	if found.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY != 0 {
		mode |= fs.ModeDir | 0o111
	}
	if found.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 && kindOf(found.Reserved0) != 0 {
		mode = 0o666 | kindOf(found.Reserved0)
	}
	return Stat{
		Size:  int64(found.FileSizeHigh)<<32 | int64(found.FileSizeLow),
		Mtime: fromTicks(int64(found.LastWriteTime.HighDateTime)<<32 | int64(found.LastWriteTime.LowDateTime)),
		Mode:  mode,
	}, nil
}

// openHandle opens path, whose names are taken literally: see long.
func openHandle(path string, access, share, flags uint32) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(long(path))
	if err != nil {
		return 0, windows.ERROR_INVALID_NAME
	}
	return windows.CreateFile(name, access, share, nil, windows.OPEN_EXISTING, flags, 0)
}

// long adds the prefix \\?\ to a clean absolute path. With it the system takes the path
// literally: it has no limit of 260 characters, sees no device in a name like NUL or
// CON.txt, and does not cut dots and spaces at the end. Other paths are returned
// unchanged.
func long(path string) string {
	switch {
	case path != filepath.Clean(path) || strings.HasPrefix(path, `\\?\`) || strings.HasPrefix(path, `\\.\`):
		return path
	case strings.HasPrefix(path, `\\`):
		return `\\?\UNC` + path[1:]
	case drive(path):
		return `\\?\` + path
	}
	return path
}

// basicInfo is FILE_BASIC_INFO. Its times are in units of 100 ns since 1601.
type basicInfo struct {
	creation, access, write, change int64
	attributes                      uint32
	_                               uint32
}

func statHandle(h windows.Handle) (Stat, error) {
	var by windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &by); err != nil {
		return Stat{}, err
	}
	var basic basicInfo
	if err := windows.GetFileInformationByHandleEx(h, windows.FileBasicInfo,
		(*byte)(unsafe.Pointer(&basic)), uint32(unsafe.Sizeof(basic))); err != nil {
		return Stat{}, err
	}
	mode := fs.FileMode(0o666)
	if by.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY != 0 {
		mode |= fs.ModeDir | 0o111
	}
	if by.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		tag, err := reparseTag(h)
		if err != nil {
			return Stat{}, err
		}
		if kind := kindOf(tag); kind != 0 {
			mode = 0o666 | kind
		}
	}
	return Stat{
		Size:  int64(by.FileSizeHigh)<<32 | int64(by.FileSizeLow),
		Mtime: fromTicks(basic.write),
		Ctime: fromTicks(basic.change),
		Inode: uint64(by.FileIndexHigh)<<32 | uint64(by.FileIndexLow),
		Dev:   uint64(by.VolumeSerialNumber),
		Mode:  mode,
	}, nil
}

// attributeTag is FILE_ATTRIBUTE_TAG_INFO.
type attributeTag struct {
	attributes, tag uint32
}

// surrogate is the bit of a reparse tag that is set if the file stands for another name,
// as links and mount points do. If it is not set, the file has its own content.
const surrogate = 0x20000000

// reparseTag returns the tag of an open file if it is a reparse point, and otherwise 0.
func reparseTag(h windows.Handle) (uint32, error) {
	var t attributeTag
	err := windows.GetFileInformationByHandleEx(h, windows.FileAttributeTagInfo,
		(*byte)(unsafe.Pointer(&t)), uint32(unsafe.Sizeof(t)))
	if err != nil || t.attributes&windows.FILE_ATTRIBUTE_REPARSE_POINT == 0 {
		return 0, err
	}
	return t.tag, nil
}

// kindOf returns the type bits of a file with this reparse tag, or 0 if the tag does not
// change its type.
func kindOf(tag uint32) fs.FileMode {
	switch tag { // the tags of Unix files have no names in our libraries
	case 0x80000023: // AF_UNIX
		return fs.ModeSocket
	case 0x80000024: // LX_FIFO
		return fs.ModeNamedPipe
	case 0x80000025, 0x80000026: // LX_CHR, LX_BLK
		return fs.ModeDevice
	}
	if tag&surrogate != 0 {
		return fs.ModeSymlink
	}
	return 0
}

func fromTicks(ticks int64) Time {
	const perSecond, since1601 = 10_000_000, 11_644_473_600
	sec, rest := ticks/perSecond, ticks%perSecond
	if rest < 0 {
		sec, rest = sec-1, rest+perSecond
	}
	return Time{sec - since1601, int32(rest * 100)}
}

// Names returns how many names the file at path has: its hard links.
func Names(path string) (uint64, error) {
	h, err := openHandle(path, windows.FILE_READ_ATTRIBUTES, shareAll, windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT)
	if err != nil {
		return 0, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	defer windows.CloseHandle(h)
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return 0, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return uint64(info.NumberOfLinks), nil
}
