// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Open opens the file rel below root for reading, and returns its Stat, as a Root of it
// does.
func Open(root, rel string) (*os.File, Stat, error) {
	r, err := OpenRoot(root)
	if err != nil {
		return nil, Stat{}, err
	}
	defer r.Close()
	return r.Open(rel)
}

// ErrBusy means that the file cannot be opened now, because another program holds it: by
// a lease on Linux, by an open that denies reading on Windows. Try again later.
var ErrBusy = errors.New("file is held by another program; try again later")

// ErrTaken means that another anti-virus on this host has judged the file, and keeps it
// from being opened or read, or has removed it.
var ErrTaken = errors.New("another anti-virus on this host keeps the file from being read")

// Taken reports whether err is ErrTaken or the system's error for the same. err is from
// Open, or from reading the file that it opened.
func Taken(err error) bool { return errors.Is(err, ErrTaken) || takenAway(err) }

// Refusal is the error of Open for a path that it does not open, with the reason.
type Refusal struct {
	Reason string // symlink, fifo, socket, device, directory, outside or permission
	Path   string
	Err    error // the error of the system; nil if there is none
}

func (r *Refusal) Error() string {
	if r.Err != nil {
		return "open file " + filepath.ToSlash(r.Path) + ": refused, " + r.Reason + ": " + r.Err.Error()
	}
	return "open file " + filepath.ToSlash(r.Path) + ": refused, " + r.Reason
}

// Unwrap returns Err.
func (r *Refusal) Unwrap() error { return r.Err }

// linked reports whether err is the Refusal of a symbolic link.
func linked(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Reason == "symlink"
}

// regular returns nil for a regular file, and a Refusal for any other.
func regular(path string, st Stat) error {
	if reason := st.Kind(); reason != "" {
		return &Refusal{Reason: reason, Path: path}
	}
	return nil
}

// local returns a Refusal if the text of rel leads out of root.
func local(root, rel string) error {
	if !stays(rel) {
		return &Refusal{Reason: "outside", Path: root + string(filepath.Separator) + rel}
	}
	return nil
}

// gone returns an error for path that is fs.ErrNotExist.
func gone(path string) error {
	return &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}
