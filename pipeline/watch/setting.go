// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"os"
	"time"
)

// setting is one attempt to set a watch, by a goroutine that holds watches.arming.
type setting struct {
	*watches
	source source
	path   string
	at     place // of the directory that is meant
	age    uint32
	added  time.Duration
	number int32 // of the watch, once it is set
}

// add sets the watch. If the directory is known under another path, it is forgotten there:
// the system would still report its events with that path. But if both paths lead to it
// the error is errAlias, and errMoved if path does not.
func (s *setting) add(f *os.File) (err error) {
	s.mu.Lock()
	other := ""
	if r := s.set.at(s.at); r != 0 {
		other = s.set.path(r)
	}
	s.mu.Unlock()
	if other != "" && other != s.path {
		if s.leads(other, s.at) {
			if !s.leads(s.path, s.at) {
				return errMoved
			}
			return errAlias
		}
		s.release(other)
	}
	s.number, err = s.source.Add(s.path, f)
	return err
}

// note notes that the watch was set, or why it could not be (failed). It returns false if
// it did not, because the source is not the current one or path is beyond.
func (s *setting) note(failed error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watches.source != s.source || s.beyond(s.path, failed) {
		return false
	}
	r := s.set.put(s.path)
	if other := s.set.by(s.number); failed == nil && other != 0 && other != r {
		s.number, failed = 0, errAlias // where the file system does not number its files, the number of the watch tells
	}
	s.set.set(r, s.at, s.number, s.age, s.added, failed)
	if watchLimit(failed) {
		s.set.limit = failed
	}
	return true
}

// undo removes the watch, unless its directory was renamed since: then it lies where it
// belongs.
func (s *setting) undo() {
	s.mu.Lock()
	r := s.set.get(s.path)
	mine := s.watches.source == s.source && r != 0 && s.set.nodes.of(r).number == s.number
	s.mu.Unlock()
	if mine {
		s.release(s.path)
	}
}
