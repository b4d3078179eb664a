// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// countFrom sets the number that a new active segment would get. It is above the number
// of each sealed segment, and above each number that a reader gave to a segment of
// another program.
func (s *Series) countFrom(names []string) error {
	c, err := openCatalog(s.dir, s.c.Base)
	if err != nil {
		return err
	}
	for _, k := range c.known {
		s.seg = max(s.seg, k.number+1)
	}
	for _, name := range names {
		n, _, err := c.number(name, s.top)
		if err != nil {
			return err
		}
		s.top = max(s.top, n)
	}
	s.seg = max(s.seg, s.top+1)
	return nil
}

// openActive opens or creates the active segment, cuts off a torn last line, and writes
// the header of an empty one. When it returns, the segment and its name are durable.
func (s *Series) openActive() error {
	f, err := s.dir.Open(s.c.Base, os.O_RDWR|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return fmt.Errorf("open active segment: %w", err)
	}
	s.f = f
	if err := s.begin(); err != nil {
		s.f = nil
		return errors.Join(err, f.Close())
	}
	return nil
}

// begin is openActive for a segment that is open.
func (s *Series) begin() (err error) {
	f := s.f
	torn, size, err := tornTail(f)
	if err != nil {
		return err
	}
	if len(torn) > 0 {
		// A crash in the middle of a write left it. It was never durable, and no reader
		// returned it. The sweep finds its file.
		s.log.Warn("cut off a torn line; the sweep finds its file again", "segment", s.c.Base, "offset", size, "bytes", fmt.Sprintf("%.200q", torn), "length", len(torn))
		if err := f.Truncate(size); err != nil {
			return fmt.Errorf("cut off torn line: %w", err)
		}
	}
	s.size, s.head = size, 0
	if err := s.ensureHeader(); err != nil {
		return err
	}
	if s.size > s.head { // else there is the header alone: the next line writes it too, for it lies in the same page
		if err := s.doubt.begin(s.size); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				s.doubt.end()
			}
		}()
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync active segment: %w", err)
	}
	if err := s.dir.Sync(); err != nil {
		return err
	}
	s.publish(Pos{s.seg, s.size})
	return nil
}

// ensureHeader reads the active segment's number, or writes the header of an empty one.
// If another program began the segment, or its number is not above all sealed ones, it
// sets sick: the segment keeps its lines and is sealed as it is.
func (s *Series) ensureHeader() error {
	if s.c.Lane == "" {
		return nil
	}
	if s.size == 0 {
		line := header{s.seg, s.c.Lane, format}.line()
		// A crash here leaves a torn or whole header; both are read at the next open.
		if _, err := s.f.Write(line); err != nil {
			return fmt.Errorf("write header: %w", err)
		}
		s.size, s.head = int64(len(line)), int64(len(line))
		return nil
	}
	line, _, err := FirstLine(s.dir, s.c.Base)
	if err != nil {
		return err
	}
	if h, ok := parseHeader(line); ok && h.Segment > s.top {
		s.seg, s.head = h.Segment, int64(len(line))+1
		return nil
	}
	s.sick = true
	return nil
}

// tornTail returns the bytes after the last newline, at most MaxLine, and the size of
// the segment without them.
func tornTail(f File) (torn []byte, size int64, err error) {
	st, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("stat active segment: %w", err)
	}
	end := st.Size()
	for size = end; size > 0; {
		n := min(size, 64<<10)
		buf := make([]byte, n)
		if _, err := f.ReadAt(buf, size-n); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, fmt.Errorf("read active segment: %w", err)
		}
		for i := n - 1; i >= 0; i-- {
			if buf[i] == '\n' {
				size = size - n + i + 1
				torn = make([]byte, min(end-size, MaxLine))
				_, err = f.ReadAt(torn, size)
				return torn, size, err
			}
		}
		size -= n
	}
	torn = make([]byte, min(end, MaxLine))
	_, err = f.ReadAt(torn, 0)
	return torn, 0, err
}
