// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"os"
)

// Prune deletes the oldest sealed segments of which finished, told the first
// line, says true; the newest keep of those stay. It returns how many it
// deleted.
//
// A crash here leaves a segment that the next Prune deletes: all cursors were
// past it.
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
	behind := 0
	for _, name := range names {
		line, _, err := FirstLine(s.dir, name)
		if err != nil {
			return 0, err
		}
		if !finished(line) {
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
	if n == 0 {
		return 0, nil
	}
	return n, s.dir.Sync()
}

// Before returns the finished func for Prune of a lane whose cursors all lie in
// segment n or later. Segments without a header are another program's to prune.
func Before(n uint64) func(first []byte) bool {
	return func(first []byte) bool {
		h, ok := parseHeader(first)
		return ok && h.Segment < n
	}
}
