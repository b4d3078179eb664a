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

// shareAll lets others write, rename and remove what we have open: whoever drops
// files must never find that a scanner is in the way.
const shareAll = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE

// glance is what is asked of a folder on the way, and of what is only looked at.
const glance = windows.FILE_READ_ATTRIBUTES | windows.SYNCHRONIZE

// Open opens the file rel below root for reading. No link or junction below root
// is followed (root's own path may hold one), it never blocks, and it opens nothing
// but a regular file. Each name is taken as it lies in its folder: NUL and CON.txt
// are no devices, a dot or a space at the end is part of the name, and a colon,
// which would lead into a stream, is refused. The error is a *Refusal, ErrBusy,
// ErrTaken, or fs.ErrNotExist when the file vanished; any other is the system's.
func Open(root, rel string) (*os.File, Stat, error) {
	path := filepath.Join(root, rel)
	if err := local(root, rel); err != nil {
		return nil, Stat{}, err
	}
	h, err := openBelow(root, rel, windows.GENERIC_READ|windows.SYNCHRONIZE, shareAll)
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

// stays reports whether rel, by its own text, names something below its root.
func stays(rel string) bool {
	if rel == "" || os.IsPathSeparator(rel[0]) || strings.ContainsAny(rel, ":\x00") {
		return false
	}
	rel = filepath.Clean(rel)
	return rel != ".." && !strings.HasPrefix(rel, `..\`)
}

// refuse puts an error of the system into the words of Open.
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
		// Go calls this "does not exist"; a server that is away has lost nothing yet.
		return fmt.Errorf("open file %s: %s", path, n.Error())
	case absent(err):
		return gone(path)
	case errors.Is(err, fs.ErrPermission):
		return &Refusal{Reason: "permission", Path: path, Err: err}
	}
	return &fs.PathError{Op: "open", Path: path, Err: err}
}

// absent reports whether err says that nothing is there: no such name, a file where a
// folder should be, a name that no file can have, or one that is being removed.
func absent(err error) bool {
	for _, e := range []error{fs.ErrNotExist, syscall.ENOTDIR, windows.ERROR_DIRECTORY, windows.ERROR_INVALID_NAME,
		windows.ERROR_BAD_PATHNAME, windows.ERROR_DELETE_PENDING} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// openBelow opens rel below the folder root one name after the other, each in the
// folder that was opened before it: whoever puts a link or another folder in the
// way meanwhile changes nothing.
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

// plain reports whether root lies on a drive or a share; what else the system has names
// for are devices and pipes.
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

// openName opens one name in an open folder. path is for errors only.
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
	// Its content is kept elsewhere, as with a deduplicated or a cloud file: only an
	// open that lets the file system see to that can read it.
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

// create opens what lies in the folder dir under name, which is not looked into:
// no drive, no device, no ending is seen in it.
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

// lstatBelow is Lstat of rel below root. It is a glance: a link on the way is
// followed, and who opens makes sure.
func lstatBelow(root, rel string) (Stat, error) {
	path := join(root, rel)
	st, err := Lstat(path)
	if err != nil {
		return Stat{}, refuse(path, err)
	}
	return st, nil
}

// openFolder opens the directory rel below root to be listed.
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
