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

// stays reports whether rel, by its own text, names something below its root.
func stays(rel string) bool { return filepath.IsLocal(rel) }

// Open opens the file rel below root for reading. No link below root is
// followed (root's own path may hold one), it never blocks, and it opens nothing
// but a regular file. The error is a *Refusal, ErrBusy, or fs.ErrNotExist when
// the file vanished; any other is the system's.
func Open(root, rel string) (*os.File, Stat, error) {
	path := filepath.Join(root, rel)
	if err := local(root, rel); err != nil {
		return nil, Stat{}, err
	}
	f, err := openFile(root, rel)
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

// openFile opens rel through os.Root, which never leaves root, and holds what it
// opened against what the path, free of links, led to.
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

// straight looks at each element of rel, refuses a link among them and returns
// the last.
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

// refuse puts an error of the system into the words of Open.
func refuse(path string, err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return ErrBusy
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return gone(path)
	case errors.Is(err, fs.ErrPermission):
		return &Refusal{Reason: "permission", Path: path, Err: err}
	case strings.Contains(err.Error(), "escapes"):
		// os.Root has no exported error for it.
		return &Refusal{Reason: "outside", Path: path, Err: err}
	}
	return &fs.PathError{Op: "open", Path: path, Err: err}
}

// lstatBelow is Lstat of rel below root. It is a glance: a link on the way is
// followed, and who opens makes sure.
func lstatBelow(root, rel string) (Stat, error) {
	st, err := Lstat(filepath.Join(root, rel))
	if err != nil {
		return Stat{}, refuse(filepath.Join(root, rel), err)
	}
	return st, nil
}

// openFolder opens the directory rel below root to be listed.
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
