// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// ErrBusy means that another program holds the file so that it cannot be opened
// now: a lease on Linux, a deny-read open on Windows. Try again later.
var ErrBusy = errors.New("file is held by another program; try again later")

// ErrTaken means that another anti-virus on this host has judged the file and keeps
// it from being opened or read, or has removed it.
var ErrTaken = errors.New("another anti-virus on this host keeps the file from being read")

// Taken reports whether err, of Open or of reading what it opened, is ErrTaken or what the
// system says in its place.
func Taken(err error) bool { return errors.Is(err, ErrTaken) || takenAway(err) }

// Refusal is why Open will not open a path.
type Refusal struct {
	Reason string // symlink, fifo, socket, device, directory, outside or permission
	Path   string
	Err    error // what the system said, if it did
}

func (r *Refusal) Error() string {
	if r.Err != nil {
		return "open file " + filepath.ToSlash(r.Path) + ": refused, " + r.Reason + ": " + r.Err.Error()
	}
	return "open file " + filepath.ToSlash(r.Path) + ": refused, " + r.Reason
}

// Unwrap returns what the system said.
func (r *Refusal) Unwrap() error { return r.Err }

// linked reports whether err is the refusal of a link.
func linked(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Reason == "symlink"
}

// regular turns what is no regular file into the Refusal that says so.
func regular(path string, st Stat) error {
	if reason := st.Kind(); reason != "" {
		return &Refusal{Reason: reason, Path: path}
	}
	return nil
}

// local refuses a rel that does not stay below its root by its own text.
func local(root, rel string) error {
	if !stays(rel) {
		return &Refusal{Reason: "outside", Path: root + string(filepath.Separator) + rel}
	}
	return nil
}

// gone wraps an error of the system so that it is fs.ErrNotExist.
func gone(path string) error {
	return &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}
