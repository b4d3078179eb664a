// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// heard lists the events of a watch. The end of a folder itself needs none: IN_IGNORED
// tells of it, and its parent's IN_DELETE.
const heard = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB |
	unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_MOVE_SELF |
	// A file that was removed while it is open has no name to look at.
	unix.IN_EXCL_UNLINK | unix.IN_ONLYDIR

// leavingMost is how many folders may have left their place without having come to
// another one. The two events of a rename follow each other at once, so more are gone.
const leavingMost = 64

// inotify is the source of the engine inotify: a watch for each directory, each with a
// number. Only the set of folders knows which directory a number is, and where it lies: so
// a rename of a folder moves one node there, and the watches below it stay as they are.
//
// The reader of events and whoever sets watches use it at once. They meet in the set,
// whose lock is never held during a call to the system.
type inotify struct {
	of  *watches // whose set names the directories
	f   *os.File // the descriptor; the runtime's poller waits for it, so that Close ends a Read
	raw interface{ Control(func(fd uintptr)) error }

	leaving []leaver // the reader's own: folders between the two events of a rename, oldest first

	// The reader's own too: the path that it found last. The events of one file come one
	// after the other.
	last struct {
		number int32
		name   string
		path   string
		moves  uint64
	}
}

// leaver is a folder that has left its name and has not come to another one.
type leaver struct {
	cookie       uint32
	number, from int32 // the folder's, and that of the folder in which it was
	name, path   string
}

// newInotify returns a source that has no watch yet. Its events name the directories in
// the set of a.
func newInotify(a *watches) (source, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch tree: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("watch tree: %w", err)
	}
	return &inotify{of: a, f: f, raw: raw}, nil
}

// Add implements source. A path that is too long for the system is reached by f.
func (s *inotify) Add(path string, f *os.File) (number int32, err error) {
	mask := uint32(heard)
	if path != s.of.Path {
		mask |= unix.IN_DONT_FOLLOW
	}
	number, err = s.watch(path, mask)
	if !errors.Is(err, unix.ENAMETOOLONG) || f == nil {
		return number, err
	}
	raw, failed := f.SyscallConn()
	if failed != nil {
		return 0, err
	}
	if failed := raw.Control(func(fd uintptr) {
		n, e := s.watch("/proc/self/fd/"+strconv.Itoa(int(fd)), heard)
		if !errors.Is(e, fs.ErrNotExist) { // there is no /proc: then the first error stands
			number, err = n, e
		}
	}); failed != nil {
		return 0, err
	}
	return number, err
}

func (s *inotify) watch(path string, mask uint32) (number int32, err error) {
	var n int
	failed := s.raw.Control(func(fd uintptr) {
		n, err = again(func() (int, error) { return unix.InotifyAddWatch(int(fd), path, mask) })
	})
	if failed != nil {
		return 0, fmt.Errorf("watch folder: %w", failed)
	}
	if err != nil {
		return 0, fmt.Errorf("watch folder: %w", err)
	}
	return int32(n), nil
}

// Remove implements source.
func (s *inotify) Remove(w watching) (err error) {
	failed := s.raw.Control(func(fd uintptr) { _, err = unix.InotifyRmWatch(int(fd), uint32(w.number)) })
	return errors.Join(failed, err)
}

// Loses implements source: an event tells of each watch that ends.
func (s *inotify) Loses() bool { return false }

// WatchList implements source.
func (s *inotify) WatchList() []string { return nil }

// Close implements source. It removes all watches.
func (s *inotify) Close() error { return s.f.Close() }

func (s *inotify) pump(event func(fsnotify.Event), trouble func(error)) {
	buf := make([]byte, 256<<10)
	for {
		n, err := s.f.Read(buf)
		switch {
		case errors.Is(err, fs.ErrClosed):
			return
		case err != nil:
			trouble(fmt.Errorf("%w: %w", errDeaf, err))
			return
		}
		if err := records(buf[:n], func(r record) { s.tell(r, event, trouble) }); err != nil {
			trouble(err)
		}
	}
}

// tell makes an event of a record. One of a watch that is not in the set says nothing: it
// was removed, or its directory is about to be listed.
func (s *inotify) tell(r record, event func(fsnotify.Event), trouble func(error)) {
	if r.mask&unix.IN_Q_OVERFLOW != 0 {
		s.gone(0, event) // what tells where they went may be among what was lost
		trouble(fsnotify.ErrEventOverflow)
		return
	}
	if r.mask&unix.IN_ISDIR != 0 && r.name != "" && s.renamed(r, event) {
		return
	}
	path, ok := s.path(r.number, r.name)
	switch {
	case !ok:
	case r.mask&unix.IN_IGNORED != 0:
		s.ended(r.number)
		event(fsnotify.Event{Name: path, Op: fsnotify.Remove})
	case r.mask&unix.IN_MOVE_SELF != 0:
		s.left(r.number, path, event)
	default:
		if op := meaning(r.mask); op != 0 {
			event(fsnotify.Event{Name: path, Op: op})
		}
	}
}

// meaning returns what a record says of the path that it names.
func meaning(mask uint32) (op fsnotify.Op) {
	isFolder := mask&unix.IN_ISDIR != 0
	if isFolder {
		op |= ofFolder
	}
	switch {
	case mask&unix.IN_CREATE != 0 && !isFolder:
		op |= fsnotify.Create | opened // or another name of a file that was there: the question tells
	case mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		op |= fsnotify.Create
	case mask&unix.IN_CLOSE_WRITE != 0:
		op |= fsnotify.Write | closed
	case mask&unix.IN_MODIFY != 0:
		op |= fsnotify.Write | opened
	case mask&unix.IN_ATTRIB != 0:
		op |= fsnotify.Chmod
	case mask&unix.IN_DELETE != 0:
		op |= fsnotify.Remove
	case mask&unix.IN_MOVED_FROM != 0:
		op |= fsnotify.Rename
	default:
		return 0
	}
	return op
}

// renamed takes the two events of a rename of a folder that is watched. It returns false
// if the record is none of them.
func (s *inotify) renamed(r record, event func(fsnotify.Event)) bool {
	switch {
	case r.mask&unix.IN_MOVED_FROM != 0:
		number, path := s.child(r.number, r.name)
		if number == 0 {
			return false
		}
		if len(s.leaving) == leavingMost {
			s.gone(s.leaving[0].number, event)
		}
		s.leaving = append(s.leaving, leaver{r.cookie, number, r.number, r.name, path})
		return true
	case r.mask&unix.IN_MOVED_TO != 0:
		at := slices.IndexFunc(s.leaving, func(l leaver) bool { return l.cookie == r.cookie })
		if at < 0 {
			return false
		}
		l := s.leaving[at]
		s.leaving = slices.Delete(s.leaving, at, at+1)
		if !s.move(l, r) {
			event(fsnotify.Event{Name: l.path, Op: fsnotify.Rename})
		}
		return false // what lies at the new name is looked at in any case
	}
	return false
}

// left takes the event that a folder was renamed, which comes after those of the folders
// that it left and came to. If it came to none it is out of the tree.
func (s *inotify) left(number int32, path string, event func(fsnotify.Event)) {
	if path == s.of.Path || !s.gone(number, event) && !s.told(number) {
		event(fsnotify.Event{Name: path, Op: fsnotify.Rename})
	}
}

// gone tells that the folder with this number, or each one if it is 0, has left its place
// for good. It reports whether there was one.
func (s *inotify) gone(number int32, event func(fsnotify.Event)) (some bool) {
	s.leaving = slices.DeleteFunc(s.leaving, func(l leaver) bool {
		if number != 0 && l.number != number {
			return false
		}
		event(fsnotify.Event{Name: l.path, Op: fsnotify.Rename})
		some = true
		return true
	})
	return some
}

// path returns the path of a name in the directory with this number, or of the directory
// itself if name is "". It returns false if the set knows of no such watch.
func (s *inotify) path(number int32, name string) (string, bool) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	set, last := s.of.set, &s.last
	r := set.by(number)
	if r == 0 || s.of.source != s {
		return "", false
	}
	if last.number != number || last.name != name || last.moves != set.moves {
		last.number, last.name, last.moves = number, name, set.moves
		last.path = join(set.path(r), name)
	}
	return last.path, true
}

// child returns the number and the path of a folder that is watched, by its name in
// another one.
func (s *inotify) child(number int32, name string) (int32, string) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	set := s.of.set
	parent := set.by(number)
	if parent == 0 || s.of.source != s {
		return 0, ""
	}
	r := set.child(parent, name)
	if r == 0 || set.nodes.of(r).number == 0 {
		return 0, ""
	}
	return set.nodes.of(r).number, set.path(r)
}

// move moves a folder to where the second event of its rename says. It returns false if it
// is not where the first one said, or cannot lie there.
func (s *inotify) move(l leaver, to record) bool {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	set := s.of.set
	r, parent := set.by(l.number), set.by(to.number)
	if r == 0 || parent == 0 || s.of.source != s {
		return false
	}
	if n := set.nodes.of(r); n.name != l.name || n.parent != set.by(l.from) {
		return false
	}
	return set.move(r, parent, to.name)
}

// ended notes that the system ended a watch.
func (s *inotify) ended(number int32) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	set := s.of.set
	if r := set.by(number); r != 0 && s.of.source == s {
		set.count(r, -1)
		set.unwatch(r)
		set.count(r, 1)
	}
}

// told reports whether the folder above the one with this number is watched: its events
// told of the rename.
func (s *inotify) told(number int32) bool {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	r := s.of.set.by(number)
	return r != 0 && s.of.set.nodes.of(s.of.set.nodes.of(r).parent).number != 0
}
