// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !windows

package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// stays reports whether the text of rel stays below its root.
func stays(rel string) bool { return filepath.IsLocal(rel) }

// Root is the folder of a tree. Here it is not held open: each Open begins at its path.
type Root struct{ path string }

// OpenRoot returns the Root of a folder. Its own path may have a link.
func OpenRoot(path string) (*Root, error) { return &Root{path}, nil }

// Close does nothing here.
func (r *Root) Close() {}

// Open opens the file rel below r for reading, and returns its Stat. It opens only
// regular files, follows no link below r, and never blocks. The error is a *Refusal, ErrBusy, fs.ErrNotExist if the file has vanished, or
// the system's.
func (r *Root) Open(rel string) (*os.File, Stat, error) {
	path := filepath.Join(r.path, rel)
	if err := local(r.path, rel); err != nil {
		return nil, Stat{}, err
	}
	f, err := openFile(r.path, rel)
	if err != nil {
		return nil, Stat{}, err
	}
	st, err := Fstat(f)
	if err == nil {
		err = regular(path, st)
	}
	if err != nil {
		f.Close()
		return nil, Stat{}, err
	}
	return f, st, nil
}

// openFile opens rel through os.Root, which never leaves root. Then it checks that this is
// the file to which the path led without a link; if not, the file has vanished.
func openFile(root, rel string) (*os.File, error) {
	path := filepath.Join(root, rel)
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, refuse(path, err)
	}
	defer r.Close()
	before, err := straight(r, root, rel)
	if err != nil {
		return nil, err
	}
	if !before.IsDir() && !before.Mode().IsRegular() {
		return nil, &Refusal{Reason: Stat{Mode: before.Mode()}.Kind(), Path: path}
	}
	f, err := r.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, refuse(path, err)
	}
	after, err := f.Stat()
	if err != nil || !os.SameFile(before, after) {
		f.Close()
		return nil, gone(path)
	}
	return f, nil
}

// straight looks at each element of rel, and returns the FileInfo of the last. It refuses
// a link among them.
func straight(r *os.Root, root, rel string) (fs.FileInfo, error) {
	var fi fs.FileInfo
	for i := 0; i <= len(rel); i++ {
		if i < len(rel) && !os.IsPathSeparator(rel[i]) {
			continue
		}
		path := filepath.Join(root, rel[:i])
		var err error
		if fi, err = r.Lstat(rel[:i]); err != nil {
			return nil, refuse(path, err)
		}
		if fi.Mode()&(fs.ModeSymlink|fs.ModeIrregular) != 0 {
			return nil, &Refusal{Reason: "symlink", Path: path}
		}
	}
	return fi, nil
}

// refuse returns the error of Open for an error of the system.
func refuse(path string, err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return ErrBusy
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return gone(path)
	case errors.Is(err, fs.ErrPermission):
		return &Refusal{Reason: "permission", Path: path, Err: err}
	case strings.Contains(err.Error(), "escapes"):
		// os.Root has no exported error for this.
		return &Refusal{Reason: "outside", Path: path, Err: err}
	}
	return &fs.PathError{Op: "open", Path: path, Err: err}
}

// lstatBelow is Lstat of rel below root. It may follow a link on the way; only opening
// the file makes sure that there is none.
func lstatBelow(root, rel string) (Stat, error) {
	st, err := Lstat(filepath.Join(root, rel))
	if err != nil {
		return Stat{}, refuse(filepath.Join(root, rel), err)
	}
	return st, nil
}

// openFolder opens the directory rel below root to list it, and follows no link below
// root.
func openFolder(root, rel string) (*os.File, error) {
	if rel == "." {
		f, err := os.Open(root)
		if err != nil {
			return nil, refuse(root, err)
		}
		return f, nil
	}
	return openFile(root, rel)
}

// lstatIn is Lstat of a name in an open directory.
func lstatIn(dir *os.File, name string) (Stat, error) {
	st, err := Lstat(filepath.Join(dir.Name(), name))
	if err != nil {
		return Stat{}, refuse(filepath.Join(dir.Name(), name), err)
	}
	return st, nil
}
