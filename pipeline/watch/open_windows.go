// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// shareAll is the share mode with which other programs may write, rename and remove a
// file that we have open: a scanner must never be in their way.
const shareAll = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE

// glance is the access for a folder on the way, and for a file of which only the Stat is
// wanted.
const glance = windows.FILE_READ_ATTRIBUTES | windows.SYNCHRONIZE

// Root is the folder of a tree. Here it is not held open: each Open begins at its path.
type Root struct{ path string }

// OpenRoot returns the Root of a folder. Its own path may have a link or a junction.
func OpenRoot(path string) (*Root, error) { return &Root{path}, nil }

// Close does nothing here.
func (r *Root) Close() {}

// Open opens the file rel below r for reading, and returns its Stat. It opens only
// regular files, follows no link or junction below r, and never blocks. Each name is taken literally: NUL and CON.txt are not devices, and a
// dot or a space at the end is part of the name. A colon, which would lead into a stream,
// is refused. The error is a *Refusal, ErrBusy, ErrTaken, fs.ErrNotExist if the file has
// vanished, or the system's.
func (r *Root) Open(rel string) (*os.File, Stat, error) {
	path := filepath.Join(r.path, rel)
	if err := local(r.path, rel); err != nil {
		return nil, Stat{}, err
	}
	h, err := openBelow(r.path, rel, windows.GENERIC_READ|windows.SYNCHRONIZE, shareAll)
	if err != nil {
		return nil, Stat{}, refuse(path, err)
	}
	st, err := statHandle(h)
	if err == nil {
		err = regular(path, st)
	}
	if err != nil {
		windows.CloseHandle(h)
		return nil, Stat{}, refuse(path, err)
	}
	return os.NewFile(uintptr(h), path), st, nil
}

// stays reports whether the text of rel stays below its root.
func stays(rel string) bool {
	if rel == "" || os.IsPathSeparator(rel[0]) || strings.ContainsAny(rel, ":\x00") {
		return false
	}
	rel = filepath.Clean(rel)
	return rel != ".." && !strings.HasPrefix(rel, `..\`)
}

// refuse returns the error of Open for an error of the system.
func refuse(path string, err error) error {
	var r *Refusal
	var n windows.Errno
	switch {
	case errors.As(err, &r):
		return err
	case errors.Is(err, windows.ERROR_SHARING_VIOLATION), errors.Is(err, windows.ERROR_LOCK_VIOLATION):
		return ErrBusy
	case Taken(err):
		return fmt.Errorf("open file %s: %w", path, ErrTaken)
	case errors.Is(err, windows.ERROR_BAD_NETPATH) && errors.As(err, &n):
		// For Go this is fs.ErrNotExist. But if a server is away, its file has not vanished.
		return fmt.Errorf("open file %s: %s", path, n.Error())
	case absent(err):
		return gone(path)
	case errors.Is(err, fs.ErrPermission):
		return &Refusal{Reason: "permission", Path: path, Err: err}
	}
	return &fs.PathError{Op: "open", Path: path, Err: err}
}

// absent reports whether err says that no file is there: there is no such name, or a file
// where a folder should be, or the name is impossible, or the file is being removed.
func absent(err error) bool {
	for _, e := range []error{fs.ErrNotExist, syscall.ENOTDIR, windows.ERROR_DIRECTORY, windows.ERROR_INVALID_NAME,
		windows.ERROR_BAD_PATHNAME, windows.ERROR_DELETE_PENDING} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// openBelow opens rel below the folder root one name after the other, each in the folder
// that was opened before it. So a link or another folder that is put in the way meanwhile
// has no effect.
func openBelow(root, rel string, access, share uint32) (windows.Handle, error) {
	if !plain(root) {
		return 0, &Refusal{Reason: "outside", Path: root}
	}
	rel = filepath.Clean(rel)
	if rel == "." {
		return openHandle(root, access, share, windows.FILE_FLAG_BACKUP_SEMANTICS)
	}
	at, err := openHandle(root, glance, shareAll, windows.FILE_FLAG_BACKUP_SEMANTICS)
	path := strings.TrimRight(root, `\`)
	for err == nil {
		name, rest, more := strings.Cut(rel, `\`)
		path += `\` + name
		var next windows.Handle
		if more {
			next, err = openName(at, name, path, glance, shareAll)
		} else {
			next, err = openName(at, name, path, access, share)
		}
		windows.CloseHandle(at)
		if err == nil && !more {
			return next, nil
		}
		at, rel = next, rest
	}
	return 0, err
}

// plain reports whether root lies on a drive or a share. The other names of the system
// are devices and pipes.
func plain(root string) bool {
	for _, long := range []string{`\\?\UNC\`, `\\?\`} {
		if rest, is := strings.CutPrefix(root, long); is {
			return long != `\\?\` || drive(rest)
		}
	}
	return drive(root) || strings.HasPrefix(root, `\\`) && !strings.HasPrefix(root, `\\.`)
}

// drive reports whether path begins with a drive and its root.
func drive(path string) bool {
	return len(path) > 2 && path[1] == ':' && os.IsPathSeparator(path[2])
}

// openName opens one name in an open folder, and refuses a link. path is for errors only.
func openName(dir windows.Handle, name, path string, access, share uint32) (windows.Handle, error) {
	h, err := create(dir, name, access, share, windows.FILE_OPEN_REPARSE_POINT)
	if err != nil {
		return 0, err
	}
	switch tag, err := reparseTag(h); {
	case err != nil:
		windows.CloseHandle(h)
		return 0, err
	case tag == 0:
		return h, nil
	case tag&surrogate != 0:
		windows.CloseHandle(h)
		return 0, &Refusal{Reason: "symlink", Path: path}
	}
	// The content is stored elsewhere, as for a deduplicated file or a cloud file. It can
	// be read only if it is opened without FILE_OPEN_REPARSE_POINT.
	defer windows.CloseHandle(h)
	whole, err := create(dir, name, access, share, 0)
	if err != nil {
		return 0, err
	}
	a, err := statHandle(h)
	b, err2 := statHandle(whole)
	if err != nil || err2 != nil || a.place() != b.place() {
		windows.CloseHandle(whole)
		return 0, errors.Join(err, err2, gone(path))
	}
	return whole, nil
}

// create opens the file name in the folder dir. The name is taken literally: never as a
// drive or a device, and its end is not cut.
func create(dir windows.Handle, name string, access, share, options uint32) (windows.Handle, error) {
	text, err := windows.NewNTUnicodeString(name)
	if err != nil {
		return 0, windows.ERROR_INVALID_NAME
	}
	object := windows.OBJECT_ATTRIBUTES{RootDirectory: dir, ObjectName: text, Attributes: windows.OBJ_CASE_INSENSITIVE}
	object.Length = uint32(unsafe.Sizeof(object))
	var h windows.Handle
	var io windows.IO_STATUS_BLOCK
	err = windows.NtCreateFile(&h, access, &object, &io, nil, 0, share, windows.FILE_OPEN,
		options|windows.FILE_SYNCHRONOUS_IO_NONALERT, 0, 0)
	var status windows.NTStatus
	switch {
	case err == nil:
		return h, nil
	case errors.Is(err, windows.STATUS_DELETE_PENDING):
		return 0, windows.ERROR_DELETE_PENDING
	case errors.As(err, &status):
		return 0, status.Errno()
	}
	return 0, err
}

// lstatBelow is Lstat of rel below root. It may follow a link on the way; only opening
// the file makes sure that there is none.
func lstatBelow(root, rel string) (Stat, error) {
	path := join(root, rel)
	st, err := Lstat(path)
	if err != nil {
		return Stat{}, refuse(path, err)
	}
	return st, nil
}

// openFolder opens the directory rel below root to list it, and follows no link below
// root.
func openFolder(root, rel string) (*os.File, error) {
	path := filepath.Join(root, rel)
	h, err := openBelow(root, rel, windows.FILE_LIST_DIRECTORY|glance, shareAll)
	if err != nil {
		return nil, refuse(path, err)
	}
	return os.NewFile(uintptr(h), path), nil
}

// lstatIn is Lstat of a name in an open directory.
func lstatIn(dir *os.File, name string) (Stat, error) {
	st, err := Lstat(join(dir.Name(), name))
	if err != nil {
		return Stat{}, refuse(join(dir.Name(), name), err)
	}
	return st, nil
}
