// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"os"
	"slices"
)

// Prune deletes the oldest sealed segments, up to the first one that is not finished.
// It asks finished with the first line of each. The newest keep of the finished ones
// stay, but at most so many that they have most bytes together; a negative most is no
// bound. It returns how many it deleted.
//
// The folder is not synced: a power cut may bring deleted segments back, and a crash
// here may leave some. The next Prune deletes them, because all cursors are past them.
func (s *Series) Prune(keep int, most int64, finished func(first []byte) bool) (int, error) {
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
	behind, sizes, size := 0, []int64(nil), int64(0)
	for _, name := range names {
		line, id, err := firstOf(s.dir, name)
		if err != nil {
			return 0, err
		}
		// Keep segments that readers know under a different number than their header: we
		// cannot tell whether they are finished.
		if slices.ContainsFunc(known, func(k foreign) bool { return k.base == s.c.Base && k.id == id }) || !finished(line) {
			break
		}
		st, err := s.dir.Lstat(name)
		if err != nil {
			return 0, fmt.Errorf("stat segment: %w", err)
		}
		behind, sizes, size = behind+1, append(sizes, st.Size()), size+st.Size()
	}
	gone := 0
	for n := range behind {
		if n >= behind-keep && (most < 0 || size <= most) {
			break
		}
		if n >= behind-keep && s.c.Spare != nil && s.c.Spare(s.dir, names[n]) {
			continue
		}
		size -= sizes[n]
		if err := s.dir.Remove(names[n]); err != nil {
			return gone, fmt.Errorf("prune segment: %w", err)
		}
		gone++
	}
	return gone, nil
}

// firstOf returns a segment's first line, and the identity by which readers would know it
// as another program's.
func firstOf(dir Folder, name string) (line []byte, id string, err error) {
	f, err := dir.Open(name, os.O_RDONLY)
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

// Before returns the func finished of Prune for a lane whose cursors all lie in segment
// n or after it. A segment without a header is another program's: that prunes it.
func Before(n uint64) func(first []byte) bool {
	return func(first []byte) bool {
		h, ok := parseHeader(first)
		return ok && h.Segment < n
	}
}
