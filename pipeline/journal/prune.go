// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"os"
	"slices"
)

// Prune deletes the oldest sealed segments of which finished, told the first
// line, says true; the newest keep of those stay. It returns how many it
// deleted.
//
// A crash here, or a power cut that brings deleted ones back, leaves segments that
// the next Prune deletes: all cursors were past them. So the folder is not synced.
func (s *Series) Prune(keep int, finished func(first []byte) bool) (int, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.shut {
		return 0, os.ErrClosed
	}
	names, err := sealed(s.dir, s.c.Base)
	if err != nil {
		return 0, err
	}
	known, err := loadForeign(s.dir)
	if err != nil {
		return 0, err
	}
	behind := 0
	for _, name := range names {
		line, id, err := s.first(name)
		if err != nil {
			return 0, err
		}
		// What readers number otherwise than it says itself is not ours to judge.
		if slices.ContainsFunc(known, func(k foreign) bool { return k.base == s.c.Base && k.id == id }) || !finished(line) {
			break
		}
		behind++
	}
	n := 0
	for ; n < behind-keep; n++ {
		if err := s.dir.Remove(names[n]); err != nil {
			return n, fmt.Errorf("prune segment: %w", err)
		}
	}
	return n, nil
}

// first returns a segment's first line, and how readers know a foreign one.
func (s *Series) first(name string) (line []byte, id string, err error) {
	f, err := s.dir.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	if id, err = f.ID(); err != nil {
		return nil, "", fmt.Errorf("identify segment %s: %w", name, err)
	}
	if line, _, err = firstLine(f, name); err != nil {
		return nil, "", err
	}
	return line, identity(id, line), nil
}

// Before returns the finished func for Prune of a lane whose cursors all lie in
// segment n or later. Segments without a header are another program's to prune.
func Before(n uint64) func(first []byte) bool {
	return func(first []byte) bool {
		h, ok := parseHeader(first)
		return ok && h.Segment < n
	}
}
