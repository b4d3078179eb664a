// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/certpush/certpush/pipeline/journal"
)

// A Story reads the lines of a ledger in their order, from a mark on.
type Story struct {
	dir journal.Folder
	end func() Mark // behind the last line that may be read
	all bool        // there is no such end
}

// Story returns a Story of the lines that are durable.
func (l *Ledger) Story() Story { return Story{dir: l.Dir, end: l.End} }

// Foreign returns a Story of a ledger that another process writes. It tells lines that are
// not synced too: what rests on it must stand a power cut that takes them away.
func Foreign(dir journal.Folder) Story { return Story{dir: dir, all: true} }

// few is how many segments Next reads if it is not told where to begin.
const few = 16

// Next calls each with up to most lines from the mark on that from names, and returns the
// mark behind them, as text. If the mark is not in the ledger it begins at one of
// the newest segments. It calls each with nothing, and returns the same mark, if there are no more.
func (s Story) Next(from string, most int, each func(text []byte)) (string, error) {
	m := ParseMark(from)
	names, i, err := s.find(m.head)
	if err != nil {
		return from, err
	}
	if i < 0 {
		i, m = max(len(names)-few, 0), Mark{}
	}
	for ; i < len(names) && most > 0; i++ {
		if m.head == "" {
			m.head, err = headOf(s.dir, names[i])
			switch {
			case errors.Is(err, fs.ErrNotExist): // it was sealed just now
				return from, nil
			case err == nil && m.head == "": // nothing in it was ever durable
				continue
			case err != nil:
				return from, fmt.Errorf("read ledger: %w", err)
			}
		}
		n, whole, err := s.read(names[i], &m, most, each)
		if err != nil {
			return from, err
		}
		most -= n
		from = strings.TrimSpace(m.String())
		if !whole || names[i] == Base {
			break
		}
		m = Mark{}
	}
	return from, nil
}

// find returns the names of the segments, and the index of the one with a head, or -1 if it
// is not there.
func (s Story) find(head string) (names []string, i int, err error) {
	for {
		was := names
		if names, err = journal.Segments(s.dir, Base); err != nil {
			return nil, 0, fmt.Errorf("list ledger: %w", err)
		}
		if head == "" || slices.Equal(names, was) { // otherwise it may have been sealed in between
			return names, -1, nil
		}
		// It is the newest one, most times, and there may be hundreds.
		for i = len(names) - 1; i >= 0; i-- {
			if is, err := headOf(s.dir, names[i]); err == nil && is == head {
				return names, i, nil
			}
		}
	}
}

// read calls each with up to most lines of a segment, and moves m behind them. whole
// reports whether it came to the end. If the segment was cut or pruned meanwhile, it reads
// nothing: the next call finds where its lines are now.
func (s Story) read(name string, m *Mark, most int, each func(text []byte)) (n int, whole bool, err error) {
	limit := int64(math.MaxInt64)
	if !s.all {
		switch end := s.end(); {
		case end.head == m.head:
			limit = end.offset
		case name == Base: // nothing in it is durable
			return 0, true, nil
		}
	}
	f, err := s.dir.Open(name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read ledger: %w", err)
	}
	defer f.Close()
	first, begun, err := journal.FirstLineOf(f, name)
	if err != nil {
		return 0, false, fmt.Errorf("read ledger: %w", err)
	}
	if !begun || headOfLine(first) != m.head {
		return 0, false, nil // another one has the name by now
	}
	st, err := f.Stat()
	if err != nil {
		return 0, false, fmt.Errorf("read ledger: %w", err)
	}
	if !begins(f, m.offset) {
		m.offset = 0 // the segment is not what it was: a power cut took its end
	}
	left := min(limit, st.Size()) - m.offset
	if left <= 0 {
		return 0, true, nil
	}
	in := bufio.NewReaderSize(io.NewSectionReader(f, m.offset, left), int(min(left, journal.MaxLine)))
	for torn := false; n < most; n++ {
		line, err := in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		if errors.Is(err, io.EOF) {
			return n, true, nil // the beginning of a line is read again with its rest
		}
		if err != nil && !long {
			return n, false, fmt.Errorf("read ledger %s: %w", name, err)
		}
		if m.offset += int64(len(line)); !long && !torn {
			each(line)
		}
		torn = long
	}
	return n, false, nil
}

// begins reports whether a line may begin at a place: it is the first, or a line ends before.
func begins(f journal.File, at int64) bool {
	var end [1]byte
	if at == 0 {
		return true
	}
	_, err := f.ReadAt(end[:], at-1)
	return err == nil && end[0] == '\n'
}
