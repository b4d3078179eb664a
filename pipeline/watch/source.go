// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"fmt"
	"os"

	"github.com/fsnotify/fsnotify"
)

// What an engine may say beside what fsnotify has names for.
const (
	opened   fsnotify.Op = 1 << 31 // a program has the file open for writing, and an event will tell when it closes it
	closed   fsnotify.Op = 1 << 30 // a program closed the file that it had open for writing
	ofFolder fsnotify.Op = 1 << 29 // the path is that of a folder
)

// earMost is how many bytes of events may wait in an ear: about 700,000 events.
const earMost = 64 << 20

// errCrowded means that more events came than an ear may hold.
var errCrowded = fmt.Errorf("%w: more than %d MiB of events waited", fsnotify.ErrEventOverflow, earMost>>20)

// errUnplaced means that an event cannot be had, or that its folder cannot be found. It is no
// matter of a queue.
var errUnplaced = errors.New("what happened on the file system cannot be told")

// source reports the events of one tree, by one engine.
type source interface {
	// Add sets a watch: pump reports the events of the directory path from now on. The
	// caller may have it open as f. It returns the number by which the engine names the
	// watch, or 0 if it names the path. Remove removes a watch. In an engine that reports
	// the whole tree anyway they do nothing.
	Add(path string, f *os.File) (number int32, err error)
	Remove(w watching) error
	// Loses reports whether the engine can lose a watch without an event. Then WatchList
	// returns the paths that have one.
	Loses() bool
	WatchList() []string
	// Close makes pump return, perhaps a moment later.
	Close() error
	// pump calls event and trouble for events and errors, until the source is closed or
	// trouble got errDeaf. Both functions must not wait.
	pump(event func(fsnotify.Event), trouble func(error))
}

// whole is a source that hears all below a tree, and sets no watch for a folder.
type whole interface {
	source
	// hears returns nil for a folder that is heard. Otherwise it returns why it is not, and
	// the highest folder of which that is true.
	hears(path string) (at string, err error)
	// strayed reports whether events do not lead to the tree any more, so that the source
	// must be made anew; unmounted, whether a file system is not heard any more.
	strayed() bool
	unmounted() bool
}

// perFolder is the engine fsnotify: a watch for each directory.
type perFolder struct{ *fsnotify.Watcher }

// Add implements source.
func (f perFolder) Add(path string, _ *os.File) (int32, error) {
	_ = f.Watcher.Remove(long(path)) // perhaps the watch of a former directory is left under this path
	return 0, f.Watcher.Add(long(path))
}

// Remove implements source.
func (f perFolder) Remove(w watching) error { return f.Watcher.Remove(long(w.path)) }

// Loses implements source: an unmount takes watches away.
func (f perFolder) Loses() bool { return true }

func (f perFolder) pump(event func(fsnotify.Event), trouble func(error)) {
	for {
		select {
		case e, ok := <-f.Events:
			if !ok {
				return
			}
			e.Name = short(e.Name)
			event(e)
		case err, ok := <-f.Errors:
			if !ok {
				return
			}
			trouble(err)
		}
	}
}
