// SPDX-License-Identifier: Apache-2.0

package watch

import "github.com/fsnotify/fsnotify"

// source reports the events of one tree, by one engine.
type source interface {
	// Add sets a watch: pump reports the events of the directory from now on. Remove
	// removes it. In an engine that reports the whole tree anyway they do nothing.
	Add(path string) error
	Remove(path string) error
	// WatchList returns the paths that have a watch, if the engine can lose one without
	// an event; otherwise nil.
	WatchList() []string
	// Close makes pump return, perhaps a moment later.
	Close() error
	// pump calls event and trouble for events and errors, until the source is closed or
	// trouble got errDeaf. Both functions must not wait.
	pump(event func(fsnotify.Event), trouble func(error))
}

// perFolder is the engine fsnotify: a watch for each directory.
type perFolder struct{ *fsnotify.Watcher }

// Add implements source.
func (f perFolder) Add(path string) error { return f.Watcher.Add(long(path)) }

// Remove implements source.
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
