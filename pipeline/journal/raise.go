// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Raise makes sure that no line is given a place before p. If the series ends before p,
// its end was lost, or it was restored: somebody knows p, and would take a new line at a
// place before p for one of the lost ones. So the active segment is sealed, and the next
// one gets a number above that of p. raised reports whether that was done.
//
// A crash here: the next start finds p again, and raises again.
func (s *Series) Raise(p Pos) (raised bool, err error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if err := s.usable(); err != nil {
		return false, err
	}
	end := Pos{s.seg, s.size}
	if !end.Before(p) || p.Segment >= maxSegment {
		return false, nil
	}
	if err := s.cut(time.Now(), max(s.seg, p.Segment)+1); err != nil {
		return false, fmt.Errorf("begin a segment above %s: %w", p, err)
	}
	s.log.Warn("the end of the journal was lost, or the journal was restored; a new segment is begun, and a sweep finds the files of the lost lines: look at the disk", "lane", s.c.Lane, "end", end.String(), "given", p.String(), "segment", s.seg)
	return true, nil
}

// Has reports whether a lane has the place p: its segment is there, and is not shorter.
func (l *Lanes) Has(lane string, p Pos) (bool, error) {
	dir := l.Lane(lane).dir
	c, err := openCatalog(dir, Base(lane))
	if err != nil {
		return false, err
	}
	for range 2 {
		all, err := c.list()
		i := slices.IndexFunc(all, func(s Segment) bool { return s.Number == p.Segment })
		if err != nil || i < 0 {
			return false, err
		}
		f, err := openIn(dir, all[i])
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was cut since the listing
		}
		if err != nil {
			return false, err
		}
		return has(f, p)
	}
	return false, fmt.Errorf("open segment %d: %w", p.Segment, os.ErrNotExist)
}

func has(f File, p Pos) (bool, error) {
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("stat segment %d: %w", p.Segment, err)
	}
	return st.Size() >= p.Offset, nil
}
