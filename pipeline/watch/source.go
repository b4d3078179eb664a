// SPDX-License-Identifier: Apache-2.0

package watch

import "github.com/fsnotify/fsnotify"

// source is an engine at work on one tree.
type source interface {
	// Add has the events of a directory told from now on; Remove no more. An engine
	// that tells of the whole tree anyway does nothing.
	Add(path string) error
	Remove(path string) error
	// WatchList returns what is watched, where it can be lost without an event.
	WatchList() []string
	// Close ends pump, which may return a moment later.
	Close() error
	// pump hands over events and errors until the source is closed or has told
	// errDeaf. What it calls does nothing that can wait.
	pump(event func(fsnotify.Event), trouble func(error))
}

// perFolder is the engine fsnotify: a watch for each directory.
type perFolder struct{ *fsnotify.Watcher }

// Add watches the folder path, whatever its name.
func (f perFolder) Add(path string) error { return f.Watcher.Add(long(path)) }

// Remove ends the watch of path.
func (f perFolder) Remove(path string) error { return f.Watcher.Remove(long(path)) }

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
