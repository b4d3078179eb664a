// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// knownMost is how many bytes a view takes to remember folders, those that are in no tree
// too: to find the path of one takes ten times as long as to look it up. knownOne is what
// one takes beside its path.
const (
	knownMost = 16 << 20
	knownOne  = 128
)

// view is one mount of a file system, by which handles of folders become paths: the same
// folder has another path on each mount. ear.telling guards it.
type view struct {
	listeners []*listener
	known     map[string]where // by handle
	size      int              // the bytes that known takes
}

// where is where a folder lies.
type where struct {
	path string // "" if it is in no tree, or gone
	deep bool   // it lies below path, too deep for the system to tell its path
}

// listener is a folder whose events a source wants, with all below it on its mount.
type listener struct {
	source *fanotify
	path   string // as the tree spells it
	real   string // as the system does
	mount  int
}

// errHandle means that a handle of a folder cannot be opened where the folder is there:
// then an event tells no path.
var errHandle = errors.New("the file system does not let folders be opened by their handles")

// tell tells the listeners of one event. The error says that its path is not known.
func (v *view) tell(h earEvent) error {
	at, ok := v.known[string(h.handle)]
	if !ok {
		var err error
		at, err = v.find(h.handle)
		if errors.Is(err, errMoved) {
			v.uproot()
			return nil
		}
		if err != nil {
			return err
		}
		v.remember(h.handle, at)
	}
	if at.path == "" {
		return nil
	}
	path, op := at.path, fsnotify.Create|ofFolder // one that is too deep is looked at from above
	if !at.deep {
		op = h.op()
		if string(h.name) != "." {
			path = join(path, string(h.name))
		}
	}
	for _, l := range v.listeners {
		switch {
		case h.movesFolder() && Within(path, l.real): // what was heard meanwhile had a path in no tree
			l.uproot()
		case Within(l.real, path):
			l.source.event(fsnotify.Event{Name: join(l.path, strings.TrimPrefix(path[len(l.real):], "/")), Op: op})
		}
	}
	return nil
}

// remember notes where the folder with a handle lies. It forgets others for that, if need be.
func (v *view) remember(handle []byte, at where) {
	v.known[string(handle)] = at
	v.size += knownOne + len(at.path)
	for some, is := range v.known {
		if v.size <= knownMost {
			break
		}
		delete(v.known, some)
		v.size -= knownOne + len(is.path)
	}
}

// forget forgets all folders.
func (v *view) forget() {
	clear(v.known)
	v.size = 0
}

// find finds the folder with a handle. One that is gone is nowhere: what was removed with
// it needs no look, and what was moved out of it has an event where it is.
func (v *view) find(handle []byte) (where, error) {
	h := unix.NewFileHandle(int32(binary.NativeEndian.Uint32(handle[4:])), handle[handleTop:])
	root, err := v.open()
	if err != nil {
		return where{}, err
	}
	defer unix.Close(root)
	fd, err := openHandle(root, h)
	switch {
	case errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOENT):
		return where{}, nil
	case err != nil:
		return where{}, fmt.Errorf("open folder by its handle: %w", err)
	}
	path, err := pathOf(fd)
	deep := errors.Is(err, unix.ENAMETOOLONG)
	if deep {
		fd, path, err = above(fd)
	}
	defer func() { unix.Close(fd) }()
	if err != nil {
		return where{}, err
	}
	if !v.wanted(path) {
		return where{}, nil
	}
	return where{path, deep}, nil
}

// open opens a folder of this mount, by which handles are opened. It is not kept open, for
// that would keep the file system from being unmounted. The error is errMoved if the
// folder of no listener lies on this mount any more.
func (v *view) open() (fd int, err error) {
	for _, l := range v.listeners {
		if fd, err = openDoor(l.path); err == nil {
			if mount, _, err := handleOf(fd); err == nil && mount == l.mount {
				return fd, nil
			}
			unix.Close(fd)
			err = errMoved
		}
	}
	if vanished(err) {
		err = errMoved
	}
	return -1, err
}

// uproot tells each tree that its folder was moved.
func (v *view) uproot() {
	for _, l := range v.listeners {
		l.uproot()
	}
}

// uproot tells the tree that its folder was moved, so that it is looked at, and watched
// and swept anew if it is there.
func (l *listener) uproot() {
	l.source.event(fsnotify.Event{Name: l.source.root, Op: fsnotify.Rename})
}

// wanted reports whether events in the folder path can be of a tree: that is the tree's
// own folder, one below, or one above, whose events tell that the tree is moved.
func (v *view) wanted(path string) bool {
	return slices.ContainsFunc(v.listeners, func(l *listener) bool {
		return Within(l.real, path) || Within(path, l.real)
	})
}

// drop takes the listeners of s away.
func (v *view) drop(s *fanotify) {
	v.listeners = slices.DeleteFunc(v.listeners, func(l *listener) bool { return l.source == s })
}

// openDoor opens a folder to open others by their handles. It follows a link: path is that
// of a tree, or the system's.
func openDoor(path string) (int, error) {
	return again(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	})
}

// openHandle opens a folder by its handle. While the folder is being removed the system
// says for a moment that it has no memory, and then that the folder is gone.
func openHandle(root int, h unix.FileHandle) (fd int, err error) {
	for pause := time.Millisecond; ; pause *= 2 {
		fd, err = again(func() (int, error) { return unix.OpenByHandleAt(root, h, unix.O_PATH|unix.O_CLOEXEC) })
		if !errors.Is(err, unix.ENOMEM) || pause > 100*time.Millisecond {
			return fd, err
		}
		time.Sleep(pause)
	}
}

// handleOf returns the number of the mount on which the folder fd was opened, and its handle.
func handleOf(fd int) (mount int, h unix.FileHandle, err error) {
	h, mount, err = unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return 0, h, fmt.Errorf("%w: %w", errHandle, err)
	}
	return mount, h, nil
}

// pathOf returns the path of an open folder, as the system spells it.
func pathOf(fd int) (string, error) {
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", fmt.Errorf("ask path of folder: %w", err)
	}
	return path, nil
}

// above returns the nearest folder above fd whose path the system can tell. It closes fd.
func above(fd int) (up int, path string, err error) {
	for {
		up, err = again(func() (int, error) { return unix.Openat(fd, "..", unix.O_PATH|unix.O_CLOEXEC, 0) })
		if err != nil {
			return fd, "", fmt.Errorf("open folder above: %w", err)
		}
		unix.Close(fd)
		fd = up
		if path, err = pathOf(fd); !errors.Is(err, unix.ENAMETOOLONG) {
			return fd, path, err
		}
	}
}

// lies reports whether the folder fd lies at path.
func lies(fd int, path string) bool {
	var is, there unix.Stat_t
	return unix.Fstat(fd, &is) == nil && unix.Lstat(path, &there) == nil && is.Dev == there.Dev && is.Ino == there.Ino
}
