// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// Prune deletes the oldest sealed segments, up to the first one that is not finished.
// It asks finished with the first line of each. The newest keep of the finished ones
// stay, but at most so many that they have most bytes together; a negative most is no
// bound. It returns how many it deleted.
//
// Reading what Config.Spare must know may take long, so the series takes lines meanwhile.
//
// The folder is not synced: a power cut may bring deleted segments back, and a crash
// here may leave some. The next Prune deletes them, because all cursors are past them.
func (s *Series) Prune(keep int, most int64, finished func(first []byte) bool) (int, error) {
	p := pruning{s, finished}
	old, err := p.old()
	if err != nil {
		return 0, err
	}
	size := int64(0)
	for _, o := range old {
		size += o.size
	}
	gone := 0
	for n, o := range old {
		if n >= len(old)-keep && (most < 0 || size <= most) {
			break
		}
		if n >= len(old)-keep && s.c.Spare != nil && s.c.Spare(s.dir, o.name) {
			continue
		}
		is, err := p.remove(o.name)
		if err != nil {
			return gone, err
		}
		if size -= o.size; is {
			gone++
		}
	}
	return gone, nil
}

// pruning is one Prune of a series. Its methods take the turn.
type pruning struct {
	*Series
	finished func(first []byte) bool
}

// oldSegment is a sealed segment that is finished.
type oldSegment struct {
	name string
	size int64 // bytes
}

// old returns the oldest sealed segments, up to the first one that is not finished.
func (p pruning) old() (old []oldSegment, err error) {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if p.shut {
		return nil, os.ErrClosed
	}
	names, err := sealed(p.dir, p.c.Base)
	if err != nil {
		return nil, err
	}
	known, err := loadForeign(p.dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if ok, err := p.is(name, known); err != nil || !ok {
			return old, err
		}
		st, err := p.dir.Lstat(name)
		if err != nil {
			return nil, fmt.Errorf("stat segment: %w", err)
		}
		old = append(old, oldSegment{name, st.Size()})
	}
	return old, nil
}

// is reports whether a sealed segment is finished. One that readers know under a different
// number than its header is not: we cannot tell.
func (p pruning) is(name string, known []foreign) (bool, error) {
	line, id, err := firstOf(p.dir, name)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(known, func(k foreign) bool { return k.base == p.c.Base && k.id == id }) && p.finished(line), nil
}

// remove deletes a segment, if it is finished still: a reader may have numbered it
// meanwhile. It returns false if it stays, or is gone already.
func (p pruning) remove(name string) (bool, error) {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if p.shut {
		return false, os.ErrClosed
	}
	known, err := loadForeign(p.dir)
	if err != nil {
		return false, err
	}
	ok, err := p.is(name, known)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !ok {
		return false, err
	}
	if err := p.dir.Remove(name); err != nil {
		return false, fmt.Errorf("prune segment: %w", err)
	}
	return true, nil
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
