// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// fanotify is the source of the engine fanotify: it listens to the ear of the tree's file
// system, and to those of the file systems that are mounted below the tree. No folder has
// a watch of its own.
type fanotify struct {
	ears    *Ears
	root    string
	event   func(fsnotify.Event)
	trouble func(error)
	wanted  func(path string) bool

	listeners []*listener
	heard     []*ear
	unheard   map[string]error // file systems below the tree that cannot be heard
	closed    chan struct{}
	once      sync.Once
}

// errFar is why a mount below a tree is not heard. See MountsBelow.
var errFar = errors.New("fanotify does not hear what another host or process serves")

// newFanotify returns a source that hears the tree t from now on. The error says why it
// cannot be heard so.
func newFanotify(t *tree) (source, error) {
	s := &fanotify{ears: t.w.ears, root: t.Path, unheard: map[string]error{}, closed: make(chan struct{})}
	s.event = func(e fsnotify.Event) { t.event(s, e) }
	s.trouble = func(err error) { t.trouble(s, err) }
	s.wanted = func(path string) bool {
		_, other := t.w.root(path)
		return !other && !t.globs.barren(t.below(path))
	}
	if err := s.listen(t.Path); err != nil {
		return nil, err
	}
	near, far := s.mounted()
	for _, path := range near {
		if s.wanted(path) {
			if err := s.listen(path); err != nil {
				s.unheard[path] = err
			}
		}
	}
	for _, path := range far {
		s.unheard[path] = errFar
	}
	return s, nil
}

// listen makes the source hear what happens below the folder path on its mount.
func (s *fanotify) listen(path string) error {
	fd, err := openDoor(path)
	if err != nil {
		return fmt.Errorf("open folder %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	l := &listener{source: s, path: path}
	if l.real, l.mount, err = handled(fd); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	x, err := s.ears.join(f, l)
	if err != nil {
		return err
	}
	s.listeners = append(s.listeners, l)
	if !slices.Contains(s.heard, x) {
		s.heard = append(s.heard, x)
	}
	return nil
}

// handled returns the path and the mount of a folder that is open, by which it can be
// heard. It opens the folder by its handle, as is done with each event: a mark alone can
// be had where that fails.
func handled(fd int) (dir string, mount int, err error) {
	mount, h, err := handleOf(fd)
	if err != nil {
		return "", 0, err
	}
	by, err := openHandle(fd, h)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", errHandle, err)
	}
	defer unix.Close(by)
	if dir, err = pathOf(by); err != nil {
		return "", 0, err
	}
	if !lies(fd, dir) || !lies(by, dir) {
		return "", 0, fmt.Errorf("%w: a handle leads to %q", errHandle, dir)
	}
	return dir, mount, nil
}

// mounted returns the paths of the mounts below the tree, as the tree spells them: see
// MountsBelow.
func (s *fanotify) mounted() (near, far []string) {
	dir := s.listeners[0].real
	near, far = MountsBelow(dir)
	for _, all := range [][]string{near, far} {
		for i, at := range all {
			all[i] = join(s.root, strings.TrimPrefix(at[len(dir):], "/"))
		}
	}
	return near, far
}

// MountsBelow returns the paths of the mounts below the folder dir, whose path has no link.
// far are those that another host or process serves: fanotify does not hear them, and to
// touch one may take as long as that is away.
func MountsBelow(dir string) (near, far []string) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, nil
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 5 {
			continue
		}
		at := unescape(words[4])
		if at == dir || !Within(dir, at) {
			continue
		}
		// The type stands behind a dash, before which there are any number of words.
		if i := slices.Index(words, "-"); i >= 0 && i+1 < len(words) && served(words[i+1]) {
			far = append(far, at)
			continue
		}
		near = append(near, at)
	}
	return near, far
}

// served reports whether another host or process serves file systems of a type.
func served(kind string) bool {
	kind, _, _ = strings.Cut(kind, ".")
	return slices.Contains([]string{"fuse", "fuseblk", "virtiofs", "nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "coda", "autofs"}, kind)
}

// Add implements source. It does nothing: the file system is heard as a whole.
func (s *fanotify) Add(string, *os.File) (int32, error) { return 0, nil }

// Remove implements source. It does nothing.
func (s *fanotify) Remove(watching) error { return nil }

// Loses implements source: there are no watches to lose. See strayed.
func (s *fanotify) Loses() bool { return false }

// WatchList implements source.
func (s *fanotify) WatchList() []string { return nil }

// hears implements whole.
func (s *fanotify) hears(path string) (at string, err error) {
	for at, err := range s.unheard {
		if Within(at, path) {
			return at, err
		}
	}
	return path, nil
}

// strayed implements whole: it reports whether a folder that is listened to has another
// path now, as the system spells it. Then no event leads to the tree.
func (s *fanotify) strayed() bool {
	return slices.ContainsFunc(s.listeners, func(l *listener) bool {
		fd, err := again(func() (int, error) { return unix.Open(l.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
		if err != nil {
			return true
		}
		defer unix.Close(fd)
		dir, err := pathOf(fd)
		mount, _, failed := handleOf(fd)
		return err == nil && failed == nil && (dir != l.real || mount != l.mount)
	})
}

// unmounted implements whole: the ear of a file system ends with it, without an event.
func (s *fanotify) unmounted() bool {
	return slices.ContainsFunc(s.heard, func(x *ear) bool { return !x.alive() })
}

// Close implements source.
func (s *fanotify) Close() error {
	s.once.Do(func() {
		for _, x := range s.heard {
			s.ears.leave(x, s)
		}
		close(s.closed)
	})
	return nil
}

// pump implements source. The worker of an ear tells the tree; its events count from the
// moment at which this source is the current one.
func (s *fanotify) pump(func(fsnotify.Event), func(error)) { <-s.closed }

// fanotifyNext says what an operator must do about an error of newFanotify.
func fanotifyNext(err error) string {
	switch {
	case errors.Is(err, errNoEar) || errors.Is(err, unix.EPERM):
		return "give the unit what certpush service dropin prints, and restart certpush: it is heard from a start on"
	case errors.Is(err, unix.EXDEV):
		return "a btrfs subvolume cannot be marked: leave it to inotify, or put the tree at the top of a file system"
	case errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL):
		return "leave this tree to inotify: fanotify takes Linux 5.9 or newer, and no filter that keeps its calls from certpush"
	case errors.Is(err, unix.EMFILE):
		return "raise fs.fanotify.max_user_groups by sysctl, or LimitNOFILE in the unit, and restart certpush"
	}
	return "leave this tree to inotify, or put it on a file system of its own, such as ext4 or xfs"
}
