// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// counter counts the durable lines between its reader's place and its own. It only looks
// for the ends of lines, and keeps nothing of them.
type counter struct {
	at    Pos   // the lines before it are counted
	n     int64 // lines from the reader's place to at
	f     File
	buf   []byte
	stale bool // the reader jumped: Next may never return the lines that were counted
}

// Count returns how many durable lines Next has still to return. A line that is too
// long counts, a header does not. If a segment cannot be read now, its lines are not
// counted yet; Next returns the error. If ctx ends first, what was not counted yet is not
// in it.
func (r *Reader) Count(ctx context.Context) int64 {
	c := &r.ahead
	if c.stale || c.at.Before(r.at) { // the reader jumped, or is ahead of the counter
		r.recount()
	}
	for r.countOn(ctx) == nil && r.countTurn(ctx) {
	}
	return c.n
}

// Ahead returns what is left of the last Count: what came since is not in it.
func (r *Reader) Ahead() int64 { return r.ahead.n }

// recount lets Count begin anew at the reader's place.
func (r *Reader) recount() {
	if r.ahead.f != nil {
		r.ahead.f.Close() // it was only read
	}
	r.ahead = counter{at: r.at, buf: r.ahead.buf}
}

// counted notes that Next returned a line.
func (r *Reader) counted(line Line) {
	if c := &r.ahead; line.At.Before(c.at) {
		c.n--
	} else if c.at == line.At {
		c.at = line.After
	}
}

// countOn counts to the durable end of the counter's segment.
func (r *Reader) countOn(ctx context.Context) error {
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
		if err := ctx.Err(); err != nil {
			return err
		}
		var n int
		n, err = c.f.ReadAt(c.buf[:min(int64(len(c.buf)), limit-c.at.Offset)], c.at.Offset)
		text := c.buf[:n]
		whole := bytes.LastIndexByte(text, '\n') + 1
		if whole == 0 && n < len(c.buf) {
			return nil // the beginning of a line
		}
		if whole == 0 { // the middle of a line that is longer than buf
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

// countEnter opens the counter's segment, or if that is gone the next one. Without an
// error there may be none: then the counter's file stays nil.
func (r *Reader) countEnter() error {
	all, err := r.cat.list()
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Number < r.ahead.at.Segment {
			continue
		}
		f, err := openSegment(r.cat.d, s.Name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the segment was cut or pruned since the listing
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

// countTurn moves the counter to the next segment. It returns false while more lines may
// come to the counter's own segment.
func (r *Reader) countTurn(ctx context.Context) bool {
	c := &r.ahead
	if !r.tail.ended(c.at.Segment, c.f) {
		return false
	}
	// The segment was sealed between upto and ended: count first the lines that came in
	// between.
	if r.countOn(ctx) != nil {
		return false
	}
	c.f.Close() // it was only read
	c.f, c.at = nil, Pos{Segment: c.at.Segment + 1}
	return true
}
