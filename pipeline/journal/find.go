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

// findAtOnce is how many bytes of a segment are searched at a time.
const findAtOnce = 2 * MaxLine

// openIn opens a segment that was listed before. If it was the active one and was cut
// since, its name is that of the next segment now: then the error is fs.ErrNotExist.
func openIn(d Folder, s Segment) (File, error) {
	f, err := openSegment(d, s.Name)
	if err != nil || !s.Active {
		return f, err
	}
	line, _, err := firstLine(f, s.Name)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if h, ok := parseHeader(line); ok && h.Segment != s.Number {
		return nil, errors.Join(fmt.Errorf("segment %d was cut: %w", s.Number, fs.ErrNotExist), f.Close())
	}
	return f, nil
}

// Find calls each for the whole lines of a segment that contain needle, in order. An
// empty needle is in every line. offset is where the line begins. line has lost its
// newline; it may be used until each returns. Find is for looks: it also finds lines
// that are not durable yet. It passes over lines longer than MaxLine.
//
// An error of each or of ctx ends it and is returned. If the segment is not there, or
// was cut since it was listed, the error wraps fs.ErrNotExist.
func Find(ctx context.Context, d Folder, s Segment, needle []byte, each func(offset int64, line []byte) error) error {
	f, err := openIn(d, s)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("stat segment %s: %w", s.Name, err)
	}
	buf := make([]byte, max(min(st.Size()+1, findAtOnce), MaxLine))
	base, have, torn := int64(0), 0, false // torn: buf begins within a line that is too long
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf[have:], base+int64(have))
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read segment %s: %w", s.Name, err)
		}
		have += n
		whole := bytes.LastIndexByte(buf[:have], '\n') + 1
		from := 0
		if torn {
			from = bytes.IndexByte(buf[:have], '\n') + 1
		}
		switch {
		case whole > 0:
			torn = false
		case have == len(buf):
			whole, from, torn = have, have, true
		}
		if err := findIn(buf[from:whole], base+int64(from), needle, each); err != nil {
			return err
		}
		if n == 0 || err != nil {
			return nil
		}
		have = copy(buf, buf[whole:have])
		base += int64(whole)
	}
}

// findIn is Find for lines in memory.
func findIn(lines []byte, base int64, needle []byte, each func(int64, []byte) error) error {
	for at := 0; at < len(lines); {
		i := bytes.Index(lines[at:], needle)
		if i < 0 {
			return nil
		}
		begin := at + bytes.LastIndexByte(lines[at:at+i], '\n') + 1
		length := bytes.IndexByte(lines[begin:], '\n')
		if length < 0 {
			return nil
		}
		if length < MaxLine {
			if err := each(base+int64(begin), lines[begin:begin+length]); err != nil {
				return err
			}
		}
		at = begin + length + 1
	}
	return nil
}

// LineAt returns the line that begins at an offset of a segment, without its newline.
// ok is false if no whole line begins there. If the segment is not there, or was cut
// since it was listed, the error wraps fs.ErrNotExist.
func LineAt(d Folder, s Segment, offset int64) (line []byte, ok bool, err error) {
	f, err := openIn(d, s)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	return lineAt(f, s.Name, offset)
}

func lineAt(f File, name string, offset int64) (line []byte, ok bool, err error) {
	if offset > 0 {
		before := make([]byte, 1)
		if _, err := f.ReadAt(before, offset-1); err != nil || before[0] != '\n' {
			return nil, false, nil
		}
	}
	for size := 4 << 10; ; size *= 4 {
		buf := make([]byte, min(size, MaxLine))
		n, err := f.ReadAt(buf, offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, false, fmt.Errorf("read segment %s: %w", name, err)
		}
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return buf[:i], true, nil
		}
		if n < len(buf) || size >= MaxLine {
			return nil, false, nil
		}
	}
}
