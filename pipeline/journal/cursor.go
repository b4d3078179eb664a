// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Cursor is the place before which a scanner has finished all lines of a lane.
//
// Its file is SCANNER.LANE, and holds:
//
//	SEGMENT:OFFSET SP SUM CHECK \n
//
// SUM and CHECK are 16 hex digits each. CHECK is over scanner, lane, place and SUM,
// so that neither a flipped bit nor the file of another lane moves a reader. SUM is the
// LineSum of the line before the place, so that a journal that was restored is not taken
// for the one that was read. The old form, SEGMENT:OFFSET \n, has neither.
type Cursor struct {
	Pos
	Sum LineSum // of the line before the place; empty: not known, as in the old form
}

// LineSum is a hash of a line without its newline, as 16 hex digits. It is over the last
// 4,096 bytes of the line at most.
type LineSum string

// sumLen is how many bytes of the end of a line are in its LineSum.
const sumLen = 4 << 10

// SumOf returns the LineSum of a line.
func SumOf(line []byte) LineSum {
	sum := sha256.Sum256(line[max(0, len(line)-sumLen):])
	return LineSum(hex.EncodeToString(sum[:8]))
}

// errCursor is the error of a cursor's file that is damaged.
var errCursor = errors.New("it is damaged, or that of another scanner or lane")

// text returns the content of the cursor's file.
func (c Cursor) text(scanner, lane string) string {
	check := sha256.Sum256([]byte(scanner + "\x00" + lane + "\x00" + c.String() + "\x00" + string(c.Sum)))
	return c.String() + " " + string(c.Sum) + hex.EncodeToString(check[:8]) + "\n"
}

// LoadCursor reads the file of a cursor.
func LoadCursor(d Folder, scanner, lane string) (Cursor, error) {
	text, err := LoadText(d, scanner+"."+lane)
	if err != nil {
		return Cursor{}, fmt.Errorf("read cursor: %w", err)
	}
	place, rest, _ := strings.Cut(text, " ")
	if old, is := strings.CutSuffix(place, "\n"); is {
		place = strings.TrimSuffix(old, "\r")
	}
	p, err := ParsePos(place)
	if err != nil || p.String() != place || p.Segment > maxSegment {
		return Cursor{}, fmt.Errorf("read cursor: %w", errCursor)
	}
	c := Cursor{Pos: p, Sum: LineSum(rest[:min(len(rest), 16)])}
	switch text {
	case place + "\n", place + "\r\n": // the old form
		return c, nil
	case c.text(scanner, lane):
		return c, nil
	}
	return Cursor{}, fmt.Errorf("read cursor: %w", errCursor)
}

// SaveCursor replaces the file of a cursor.
//
// A crash here leaves the old place or the new one. All lines before either are
// finished.
func SaveCursor(d Folder, scanner, lane string, c Cursor) error {
	return SaveText(d, scanner+"."+lane, c.text(scanner, lane))
}

// Fit is how a cursor and a journal fit.
type Fit struct {
	Foreign bool    // the segment of the place is another program's
	OK      bool    // the place is in the journal, or the journal has only lines after it
	Sum     LineSum // of the line before the place; empty: that line is not there
	End     Pos     // if the journal, or the place's segment, ends before the place: where; else the zero Pos
}

// Fit holds c against the lane base in d. It gives no numbers and writes nothing.
func (c Cursor) Fit(d Folder, base string) (Fit, error) {
	for range 2 {
		all, err := Survey(d, base)
		if err != nil {
			return Fit{}, fmt.Errorf("hold cursor against journal: %w", err)
		}
		f, err := c.fit(d, base, all)
		if !errors.Is(err, fs.ErrNotExist) { // otherwise the segment was cut since the listing
			return f, err
		}
	}
	return Fit{OK: true, Sum: c.Sum}, nil
}

func (c Cursor) fit(d Folder, base string, all []Segment) (Fit, error) {
	if c.Pos == (Pos{}) {
		return Fit{OK: true, Sum: SumOf(nil)}, nil
	}
	later := len(all) == 0 // or one is there that has no number yet
	var last Segment
	for _, s := range all {
		if s.Number == c.Segment {
			return c.fitIn(d, s)
		}
		later = later || s.Number > c.Segment || s.Number == 0
		if s.Number > last.Number {
			last = s
		}
	}
	if later || last.Number == 0 {
		return Fit{OK: true, Sum: c.Sum}, nil // its segment was deleted, or none is there yet
	}
	if cat, err := openCatalog(d, base); err != nil || cat.gave(c.Segment) {
		return Fit{OK: true, Sum: c.Sum}, err // it was another program's, and is gone
	}
	size, err := sizeOf(d, last)
	return Fit{End: Pos{last.Number, size}}, err
}

// fitIn is Fit for a cursor whose segment is s.
func (c Cursor) fitIn(d Folder, s Segment) (Fit, error) {
	f, err := openIn(d, s)
	if err != nil {
		return Fit{}, err
	}
	defer f.Close()
	first, _, err := firstLine(f, s.Name)
	if err != nil {
		return Fit{}, err
	}
	_, ours := parseHeader(first)
	st, err := f.Stat()
	if err != nil {
		return Fit{}, fmt.Errorf("stat segment %s: %w", s.Name, err)
	}
	if st.Size() < c.Offset {
		return Fit{Foreign: !ours, End: Pos{s.Number, st.Size()}}, nil
	}
	line, whole, err := lineBefore(f, c.Offset)
	if err != nil || !whole {
		return Fit{Foreign: !ours}, err
	}
	sum := SumOf(line)
	return Fit{Foreign: !ours, OK: c.Sum == "" || c.Sum == sum, Sum: sum}, nil
}

func sizeOf(d Folder, s Segment) (int64, error) {
	f, err := openIn(d, s)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("stat segment %s: %w", s.Name, err)
	}
	return st.Size(), nil
}

// lineBefore returns the end of the line that ends at offset, as much of it as its
// LineSum needs. whole is false if no line ends there: offset is within a line.
func lineBefore(f File, offset int64) (line []byte, whole bool, err error) {
	if offset == 0 {
		return nil, true, nil
	}
	from := max(0, offset-sumLen-2)
	buf := make([]byte, offset-from)
	if n, err := f.ReadAt(buf, from); n < len(buf) {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("read segment: %w", err)
	}
	line, whole = bytes.CutSuffix(buf, []byte{'\n'})
	return line[bytes.LastIndexByte(line, '\n')+1:], whole, nil
}

// lineBegin returns where the line begins that holds the byte before offset.
func lineBegin(f File, offset int64) (int64, error) {
	for offset > 0 {
		from := max(0, offset-64<<10)
		buf := make([]byte, offset-from)
		if n, err := f.ReadAt(buf, from); n < len(buf) {
			return 0, fmt.Errorf("read segment: %w", err)
		}
		if i := bytes.LastIndexByte(buf, '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		offset = from
	}
	return 0, nil
}
