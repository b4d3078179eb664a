// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// counter knows how many durable lines lie between a reader's place and its own. It
// looks for line ends alone: nothing is handed out, and nothing is kept of a line.
type counter struct {
	at    Pos // all before it is counted
	n     int64
	f     File
	buf   []byte
	stale bool // the reader jumped: what was counted may never be handed out
}

// Count returns how many durable lines Next has still to hand out. A line that is
// unreadable counts, a header does not. What cannot be read now is not counted yet:
// Next tells the error.
func (r *Reader) Count() int64 {
	c := &r.ahead
	if c.stale || c.at.Before(r.at) { // Next jumped, or went ahead of it
		r.recount()
	}
	for r.countOn() == nil && r.countTurn() {
	}
	return c.n
}

// Ahead returns what is left of the last Count: what came since is not in it.
func (r *Reader) Ahead() int64 { return r.ahead.n }

// recount has Count begin anew at the reader's place.
func (r *Reader) recount() {
	if r.ahead.f != nil {
		r.ahead.f.Close() // it was only read
	}
	r.ahead = counter{at: r.at, buf: r.ahead.buf}
}

// counted notes that Next handed out a line.
func (r *Reader) counted(line Line) {
	if c := &r.ahead; line.At.Before(c.at) {
		c.n--
	} else if c.at == line.At {
		c.at = line.After
	}
}

// countOn counts to the durable end of the counter's segment.
func (r *Reader) countOn() error {
	c := &r.ahead
	if c.f == nil {
		if err := r.countEnter(); err != nil || c.f == nil {
			return errors.Join(err, errNothing)
		}
	}
	if c.buf == nil {
		c.buf = make([]byte, 256<<10)
	}
	limit, err := r.tail.upto(c.at.Segment, c.f)
	for err == nil && c.at.Offset < limit {
		var n int
		n, err = c.f.ReadAt(c.buf[:min(int64(len(c.buf)), limit-c.at.Offset)], c.at.Offset)
		text := c.buf[:n]
		whole := bytes.LastIndexByte(text, '\n') + 1
		if whole == 0 && n < len(c.buf) {
			return nil // the beginning of a line
		}
		if whole == 0 { // the middle of a line that is far too long
			whole = n
		}
		c.n += int64(bytes.Count(text[:whole], []byte{'\n'}))
		if c.at.Offset == 0 {
			if line, _, ok := bytes.Cut(text, []byte{'\n'}); ok {
				if _, is := parseHeader(line); is {
					c.n--
				}
			}
		}
		c.at.Offset += int64(whole)
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
	return err
}

// errNothing says that there is no segment to count in.
var errNothing = errors.New("nothing to count")

// countEnter opens the counter's segment, or the next one there is.
func (r *Reader) countEnter() error {
	all, err := r.cat.list()
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Number < r.ahead.at.Segment {
			continue
		}
		f, err := r.cat.d.Open(s.Name, os.O_RDONLY)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was cut or pruned since the listing
		}
		if err != nil {
			return fmt.Errorf("open segment: %w", err)
		}
		if s.Active {
			if n, _, err := r.cat.number(s.Name, s.Number-1); err != nil || n != s.Number {
				return errors.Join(err, f.Close())
			}
		}
		if s.Number > r.ahead.at.Segment {
			r.ahead.at = Pos{Segment: s.Number}
		}
		r.ahead.f = f
		return nil
	}
	return nil
}

// countTurn goes on to the segment after the counter's; false means that there is
// none yet.
func (r *Reader) countTurn() bool {
	c := &r.ahead
	if !r.tail.ended(c.at.Segment, c.f) {
		return false
	}
	// It was sealed between the two questions: what came meanwhile is counted first.
	if r.countOn() != nil {
		return false
	}
	c.f.Close() // it was only read
	c.f, c.at = nil, Pos{Segment: c.at.Segment + 1}
	return true
}
