// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Lstat returns the Stat of path, of the link itself if it is one. The error is
// an *fs.PathError.
func Lstat(path string) (Stat, error) {
	return statPath(path, windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT)
}

// follow is Lstat for a tree's own path, which may be a link.
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
	h, err := openHandle(path, windows.FILE_READ_ATTRIBUTES,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, flags)
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

// openHandle opens path as it stands; beyond 240 characters it needs the prefix
// that turns the system's short limit off.
func openHandle(path string, access, share, flags uint32) (windows.Handle, error) {
	if len(path) >= 240 && len(path) > 2 && path[1] == ':' {
		path = `\\?\` + path
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	return windows.CreateFile(name, access, share, nil, windows.OPEN_EXISTING, flags, 0)
}

// basicInfo is FILE_BASIC_INFO: times in 100 ns since 1601.
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
	switch {
	case by.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 && !stored(h):
		mode |= fs.ModeSymlink
	case by.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY != 0:
		mode |= fs.ModeDir | 0o111
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

// stored tells if a reparse point still holds its own content: deduplicated and
// cloud files do, links and mount points do not. The bit is the name surrogate's.
func stored(h windows.Handle) bool {
	var t attributeTag
	err := windows.GetFileInformationByHandleEx(h, windows.FileAttributeTagInfo,
		(*byte)(unsafe.Pointer(&t)), uint32(unsafe.Sizeof(t)))
	return err == nil && t.tag&0x20000000 == 0
}

func fromTicks(ticks int64) Time {
	const perSecond, since1601 = 10_000_000, 11_644_473_600
	sec, rest := ticks/perSecond, ticks%perSecond
	if rest < 0 {
		sec, rest = sec-1, rest+perSecond
	}
	return Time{sec - since1601, int32(rest * 100)}
}
