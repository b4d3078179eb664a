// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// This file keeps root from harm by what other users prepared: from writing in folders in
// which others may plant links, and from taking a configuration of theirs.

// planter returns an error if a user other than root decides what lies at path: it owns
// that, a folder above it, or a link on the way. what names path to an operator. Folders
// that are not there yet are root's to make.
func planter(what, path string) error {
	for _, way := range []string{filepath.Clean(path), Resolved(path)} {
		for dir := way; ; dir = filepath.Dir(dir) {
			var st unix.Stat_t
			err := unix.Lstat(dir, &st)
			switch {
			case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
			case err != nil:
				return &fs.PathError{Op: "look at", Path: dir, Err: err}
			case st.Uid != 0:
				return &planted{what: what, path: path, at: dir, uid: st.Uid}
			case st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_IWOTH != 0 && st.Mode&unix.S_ISVTX == 0:
				return fmt.Errorf("%s %s: every user may write in %s: run chmod o-w %[3]s", what, printable(path), printable(dir))
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return nil
}

// planted is the error of planter for something that another user owns.
type planted struct {
	what, path, at string
	uid            uint32
}

func (e *planted) Error() string {
	where := "it"
	if e.at != filepath.Clean(e.path) {
		where = printable(e.at) + " on the way to it"
	}
	return fmt.Sprintf("%s %s: %s belongs to %s, who decides what root would find there", e.what, printable(e.path), where, userName(e.uid))
}

// userName returns the name of a user with its number.
func userName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return "user " + printable(u.Username) + " (" + number + ")"
	}
	return "user " + number
}

// unitFiles are where systemd finds the unit and its drop-ins, the later ones count more.
var unitFiles = [...]string{"/lib/systemd/system/certpush.service", "/usr/lib/systemd/system/certpush.service", "/etc/systemd/system/certpush.service", "/etc/systemd/system/certpush.service.d/*.conf"}

// unitLines returns the lines of the installed unit and its drop-ins, without blanks.
func unitLines() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, pattern := range unitFiles {
			files, err := filepath.Glob(pattern)
			if err != nil {
				continue
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					continue
				}
				for line := range strings.Lines(string(text)) {
					if !yield(strings.TrimSpace(line)) {
						return
					}
				}
			}
		}
	}
}

// unitUser returns the user as whom the installed unit runs. It returns false if no unit
// is installed.
func unitUser() (name string, ok bool) {
	for line := range unitLines() {
		ok = true
		if value, is := strings.CutPrefix(line, "User="); is {
			name = value
		}
	}
	return name, ok
}

// rootMayWrite returns an error if we are root and would write in folders that others
// own. If the installed unit runs on this state the error names the line that starts it.
func rootMayWrite(s Settings) error {
	if os.Geteuid() != 0 {
		return nil
	}
	dirs := []struct{ what, path string }{{"state", s.Pipeline.State}}
	if filepath.IsAbs(s.Log.To) {
		dirs = append(dirs, struct{ what, path string }{"log", s.Log.To})
	}
	if e, err := parseListen(s.Listen); err == nil && e.network == "unix" {
		dirs = append(dirs, struct{ what, path string }{"admin socket", filepath.Dir(e.address)})
	}
	for _, d := range dirs {
		err := planter(d.what, d.path)
		if err == nil {
			continue
		}
		next := "run certpush as that user, or name a folder of root's"
		var f *planted
		if name, installed := unitUser(); errors.As(err, &f) && d.what == "state" && installed {
			if u, err := user.LookupId(strconv.FormatUint(uint64(f.uid), 10)); err == nil && u.Username == name {
				next = "it is the state of the installed unit: start that with systemctl start certpush, or name another state"
			}
		}
		return &coded{ExitPermission, fmt.Errorf("%w: %s", err, next)}
	}
	return nil
}

// becomeOwner makes a process of root one of the owner of the state folder, for good. Of
// root's rights it keeps the one to read all files, for walking the trees. So nothing that
// the owner planted leads a look to write as root. It does nothing if we are not root, or
// if root owns the state.
func becomeOwner(state string) error {
	var st unix.Stat_t
	if err := unix.Stat(state, &st); os.Geteuid() != 0 || err != nil || st.Uid == 0 {
		return nil // a state that is not there is told by who opens it
	}
	read := keepRight()
	for _, drop := range []func() error{
		func() error { return syscall.Setgroups(nil) },
		func() error { return syscall.Setresgid(int(st.Gid), int(st.Gid), int(st.Gid)) },
		func() error { return syscall.Setresuid(int(st.Uid), int(st.Uid), int(st.Uid)) },
		read,
	} {
		if err := drop(); err != nil {
			return &coded{ExitPermission, fmt.Errorf("become %s, who owns the state: %w: run certpush as that user", userName(st.Uid), err)}
		}
	}
	return nil
}

// keepRight lets a change of the user keep our rights, and returns a func that gives up
// all of them but the one to read all files. A build with cgo cannot reach all its threads:
// then no right is kept.
func keepRight() (read func() error) {
	if !canKeep() {
		return func() error { return nil }
	}
	return setRights
}

// canKeep lets a change of the user keep our rights. It returns false if that cannot be.
func canKeep() bool {
	_, _, no := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0)
	return no == 0
}
