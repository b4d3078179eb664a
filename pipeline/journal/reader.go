// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
)

// Tail says how far a lane may be read. In the process of the writer it is the Series,
// in another process a Follower.
type Tail interface {
	// Changed returns a channel that is closed when there may be more to read.
	Changed() <-chan struct{}
	// upto returns how many bytes of segment n, open as f, are durable.
	upto(n uint64, f File) (int64, error)
	// ended reports whether no more lines will come to segment n, open as f.
	ended(n uint64, f File) bool
}

func (s *Series) upto(n uint64, f File) (int64, error) {
	d := s.Durable()
	switch {
	case n == d.Segment:
		return d.Offset, nil
	case n > d.Segment:
		return 0, nil
	}
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("stat segment: %w", err)
	}
	return st.Size(), nil
}

func (s *Series) ended(n uint64, _ File) bool { return n < s.Durable().Segment }

// Line is one journal line as a reader returns it.
type Line struct {
	At, After Pos
	Text      []byte // without the newline
	Long      bool   // longer than MaxLine: Text is its beginning, and After lies within it

	before []byte // the end of the line before it, as much as its LineSum needs
}

// Cursor returns the place of the line, as a cursor.
func (l Line) Cursor() Cursor { return Cursor{l.At, SumOf(l.before)} }

// Behind returns the place after the line, as a cursor. The line must not be Long.
func (l Line) Behind() Cursor { return Cursor{l.After, SumOf(l.Text)} }

// Reader returns the durable lines of one lane, in order, from a place on. It follows
// the active segment over cuts. Only one goroutine may use it.
type Reader struct {
	tail Tail
	cat  *catalog
	log  *slog.Logger

	at    Pos // where the next line begins
	f     File
	name  string
	alien bool    // the segment is another program's
	buf   []byte  // read and not returned yet; begins at at.Offset
	torn  bool    // buf begins in the rest of a line that was too long
	last  []byte  // the end of the line before at, as much as its LineSum needs
	hole  *[2]Pos // the lines that Missed returns; nil: none

	ahead counter
}

// Missed returns the range of lines that Next had to pass over since the last call. They
// were in segments that are not there any more, or in the torn end of a sealed one. No
// reader will return them. ok is false if there are none.
func (r *Reader) Missed() (from, to Pos, ok bool) {
	if r.hole == nil {
		return Pos{}, Pos{}, false
	}
	from, to = r.hole[0], r.hole[1]
	r.hole = nil
	return from, to, true
}

// miss notes that the lines up to to are passed over.
func (r *Reader) miss(to Pos) {
	if r.hole == nil {
		r.hole = &[2]Pos{r.at, to}
	}
	r.hole[1] = to
	r.ahead.stale = true
}

// NewReader returns a reader of base in d. The caller closes d after it. The reader
// begins at from; the zero Pos is the oldest line. If that place is not there any more,
// reading begins at the next segment; if it is not there yet, at the oldest one. A
// warning says so.
func NewReader(d Folder, base string, from Pos, tail Tail, log *slog.Logger) (*Reader, error) {
	c, err := openCatalog(d, base)
	if err != nil {
		return nil, err
	}
	return &Reader{tail: tail, cat: c, log: log, at: from, ahead: counter{at: from}}, nil
}

// Close ends the reader.
func (r *Reader) Close() error {
	var errs []error
	for _, f := range []File{r.f, r.ahead.f} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	r.f, r.ahead.f = nil, nil
	return errors.Join(errs...)
}

// Seek lets Next go on at to, as if the reader were new.
func (r *Reader) Seek(to Pos) {
	same := r.at.Segment == to.Segment
	r.at, r.buf, r.torn, r.hole, r.ahead.stale = to, nil, false, nil, true
	if r.f != nil && (!same || r.align(r.f) != nil) { // Next opens it again, and tells the error
		r.f.Close()
		r.f = nil
	}
}

// Name returns the name of the segment of the last line, as it was when it was opened.
func (r *Reader) Name() string { return r.name }

// Foreign reports whether the segment of the last line is another program's.
func (r *Reader) Foreign() bool { return r.alien }

// At returns where the next line begins.
func (r *Reader) At() Pos { return r.at }

// Next returns the next durable line. ok is false if there is none now. To wait for one,
// call Changed before Next. A line may be long: Next ends with ctx's error.
func (r *Reader) Next(ctx context.Context) (line Line, ok bool, err error) {
	for gone := 0; ; {
		if err := ctx.Err(); err != nil {
			return Line{}, false, err
		}
		if r.f == nil {
			if ok, err := r.enter(); err != nil || !ok {
				return Line{}, false, err
			}
			if r.f == nil { // the segment was sealed or pruned since the listing: list again
				if gone++; gone > 100 {
					return Line{}, false, fmt.Errorf("open segment %d: it is listed and not there: look at the folder", r.at.Segment)
				}
				continue
			}
		}
		if line, ok := r.take(); ok {
			r.counted(line)
			return line, true, nil
		}
		more, err := r.fill()
		if err != nil {
			return Line{}, false, err
		}
		if more {
			continue
		}
		if !r.tail.ended(r.at.Segment, r.f) {
			// Forget the beginning of a line. It is read again with its rest, because the
			// writer may cut it off before that.
			r.buf = nil
			return Line{}, false, nil
		}
		// The segment was sealed between upto and ended: read first the lines that came in
		// between.
		if more, err = r.fill(); err != nil {
			return Line{}, false, err
		} else if more {
			continue
		}
		if ok, err := r.turn(); !ok {
			return Line{}, false, err
		}
	}
}

// Changed returns a channel that is closed when Next may have another line.
func (r *Reader) Changed() <-chan struct{} { return r.tail.Changed() }

// take takes the next whole line from buf. It passes over a header, and over the rest of
// a line that was too long.
func (r *Reader) take() (Line, bool) {
	for {
		i := bytes.IndexByte(r.buf, '\n')
		if i < 0 && len(r.buf) < MaxLine {
			return Line{}, false
		}
		long := i < 0
		if long {
			i = len(r.buf) - 1
		}
		line := Line{At: r.at, Text: bytes.Clone(r.buf[:i]), Long: long, before: r.last}
		r.last = r.ending(line.Text, r.buf[:i+1])
		r.buf = r.buf[i+1:]
		r.at.Offset += int64(i) + 1
		line.After = r.at
		if r.torn {
			r.torn = long
			continue
		}
		r.torn = long
		if line.At.Offset == 0 {
			if _, ok := parseHeader(line.Text); ok {
				continue
			}
		}
		return line, true
	}
}

// ending returns what the LineSum of a line needs that was just taken from buf: text,
// or if it is a part of a line that is too long the last bytes up to here.
func (r *Reader) ending(text, taken []byte) []byte {
	long := taken[len(taken)-1] != '\n'
	if !long && !r.torn {
		return text
	}
	if !long {
		taken = text
	}
	if r.torn {
		taken = append(bytes.Clone(r.last), taken...)
	}
	return bytes.Clone(taken[max(0, len(taken)-sumLen):])
}

// fill reads more of the segment into buf. It returns false if nothing more is durable.
func (r *Reader) fill() (bool, error) {
	if cut, err := r.cutShort(); cut || err != nil {
		return cut, err
	}
	from := r.at.Offset + int64(len(r.buf))
	limit, err := r.tail.upto(r.at.Segment, r.f)
	if err != nil {
		return false, err
	}
	n := min(limit-from, 64<<10)
	if n <= 0 {
		return false, nil
	}
	buf := make([]byte, int64(len(r.buf))+n)
	have := copy(buf, r.buf)
	got, err := r.f.ReadAt(buf[have:], from)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read segment %s: %w", r.name, err)
	}
	r.buf = buf[:have+got]
	return got > 0, nil
}

// enter opens the segment that at names, or the nearest one, and moves at there. It
// returns false if there is no segment.
func (r *Reader) enter() (bool, error) {
	// A sealed segment that was listed before needs no new listing. A listing takes long
	// if there are many.
	if name, ok := r.cat.sealed(r.at.Segment); ok {
		if err := r.open(Segment{Number: r.at.Segment, Name: name}); err != nil || r.f != nil {
			return true, err
		}
	}
	all, err := r.cat.list()
	if err != nil || len(all) == 0 {
		return false, err
	}
	if r.at.Segment > all[len(all)-1].Number && r.cat.gave(r.at.Segment) {
		return false, nil // another program's segment, that is gone; what comes next gets a number above it
	}
	if r.at.Segment > all[len(all)-1].Number {
		r.log.Warn("the cursor is ahead of the journal; reading goes on at the oldest segment", "lane", r.cat.base, "cursor", r.at.String())
		r.at, r.ahead.stale = Pos{}, true
	}
	for _, s := range all {
		if s.Number < r.at.Segment {
			continue
		}
		if s.Number > r.at.Segment && r.at != (Pos{}) {
			r.log.Warn("a segment is missing; reading goes on at the next", "lane", r.cat.base, "cursor", r.at.String(), "next", s.Number)
			r.miss(Pos{Segment: s.Number})
		}
		if s.Number > r.at.Segment {
			r.at = Pos{Segment: s.Number}
		}
		return true, r.open(s)
	}
	return false, nil
}

// open opens s. If s is not there any more, the file stays nil without an error.
func (r *Reader) open(s Segment) error {
	f, err := openSegment(r.cat.d, s.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the caller lists again
	}
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	if s.Active {
		// If it was cut since the listing, this file is another segment.
		if n, _, err := r.cat.number(s.Name, s.Number-1); err != nil || n != s.Number {
			return errors.Join(err, f.Close())
		}
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("stat segment: %w", err), f.Close())
	}
	if r.at.Offset > st.Size() {
		r.log.Warn("the cursor is ahead of its segment; the segment is read again", "lane", r.cat.base, "cursor", r.at.String())
		r.at.Offset, r.ahead.stale = 0, true
	}
	first, _, err := firstLine(f, s.Name)
	if err == nil {
		err = r.align(f)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	_, ours := parseHeader(first)
	r.alien = !ours
	if !ours && !s.Active && !r.cat.is(f, s.Name, s.Number) {
		return f.Close() // it was rotated once more since the listing
	}
	r.f, r.name, r.buf, r.torn = f, s.Name, nil, false
	return nil
}

// align moves at back to the beginning of the line that holds it, if it lies within a
// line of f: what cannot be read is told of from there on.
func (r *Reader) align(f File) error {
	last, whole, err := lineBefore(f, r.at.Offset)
	if err == nil && !whole {
		if r.at.Offset, err = lineBegin(f, r.at.Offset); err != nil {
			return err
		}
		r.ahead.stale = true
		last, _, err = lineBefore(f, r.at.Offset)
	}
	r.last = last
	return err
}

// turn goes on to the next segment. It returns false if there is none yet.
func (r *Reader) turn() (bool, error) {
	all, err := r.cat.list()
	if err != nil {
		return false, err
	}
	for _, s := range all {
		if s.Number <= r.at.Segment {
			continue
		}
		// Another program may have written on under the old name until it began the next.
		if more, err := r.fill(); more || err != nil {
			return more, err
		}
		bad := damage(r.f)
		if bad != nil {
			r.log.Error("a compressed log of another program is damaged; its lines from here on cannot be read, and of a wrong checksum nobody knows which are wrong: append those paths once more", "lane", r.cat.base, "file", r.name, "segment", r.at.Segment, "offset", r.at.Offset, "error", bad)
		} else if len(r.buf) > 0 {
			r.log.Warn("a sealed segment ends in a torn line", "segment", r.name, "offset", r.at.Offset, "bytes", fmt.Sprintf("%.200q", r.buf))
		}
		if len(r.buf) > 0 || s.Number > r.at.Segment+1 || bad != nil && !errors.Is(bad, gzip.ErrChecksum) {
			r.miss(Pos{Segment: s.Number})
		}
		r.f.Close()
		r.f = nil
		r.at = Pos{Segment: s.Number}
		return true, r.open(s)
	}
	return false, nil
}
