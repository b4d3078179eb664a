// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"slices"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// Furthest returns for each lane the furthest place of a line that got an outcome at or
// after one of the marks. It writes nothing, and dir may be another process's. It logs
// and passes over a segment that it may not read.
func Furthest(ctx context.Context, dir journal.Folder, marks []Mark, log *slog.Logger) (all []sample.At, err error) {
	far := map[string]journal.Pos{}
	for again := true; again && err == nil; {
		was, _ := journal.Segments(dir, Base) // an error is that of readBack too
		err = readBack(ctx, dir, marks, log, func(_ string, at sample.At, _ []byte) {
			if far[at.Lane].Before(at.Pos) {
				far[at.Lane] = at.Pos
			}
		})
		// If the other process cut the ledger meanwhile, the segment that it sealed may not
		// have been read.
		now, _ := journal.Segments(dir, Base)
		again = len(now) > len(was)
	}
	for lane, p := range far {
		p.Offset++ // the line has a byte at least
		all = append(all, sample.At{Lane: lane, Pos: p})
	}
	return all, err
}

// readBack calls each for every finished line that was recorded at or after one of the
// marks. Without marks, or if the segment of one is not found, it reads the whole ledger.
func readBack(ctx context.Context, dir journal.Folder, marks []Mark, log *slog.Logger, each func(scanner string, at sample.At, text []byte)) error {
	names, err := journal.Segments(dir, Base)
	if err != nil {
		return fmt.Errorf("list ledger: %w", err)
	}
	first, from, _, err := oldest(ctx, dir, names, marks)
	if err != nil {
		return err
	}
	for i, name := range names[first:] {
		if i > 0 {
			from = 0
		}
		err := readOutcomes(ctx, dir, name, from, each)
		if errors.Is(err, fs.ErrPermission) {
			log.Error("ledger segment cannot be read; lines that it tells of may be pushed again: let the user that certpush runs as read it", "segment", name, "error", err)
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // pruned, or the active one in the middle of a cut
			return err
		}
	}
	return nil
}

// oldest returns the index in names of the segment of the oldest mark, and its offset
// there. It is the beginning if there is no mark, or if the segment of one is not found:
// then found is false.
func oldest(ctx context.Context, dir journal.Folder, names []string, marks []Mark) (first int, offset int64, found bool, err error) {
	if len(marks) == 0 || slices.Contains(marks, Mark{}) {
		return 0, 0, false, nil
	}
	left := slices.Clone(marks)
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return 0, 0, false, err
		}
		head, err := headOf(dir, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return 0, 0, false, fmt.Errorf("read ledger: %w", err)
		}
		left = slices.DeleteFunc(left, func(m Mark) bool {
			if m.head != head {
				return false
			}
			switch {
			case !found:
				first, offset, found = i, m.offset, true
			case first == i:
				offset = min(offset, m.offset)
			}
			return true
		})
		if len(left) == 0 {
			return first, offset, true, nil
		}
	}
	return 0, 0, false, nil
}

// readOutcomes calls each for every finished line in one segment, from an offset on.
func readOutcomes(ctx context.Context, d journal.Folder, name string, from int64, each func(scanner string, at sample.At, text []byte)) error {
	f, err := d.Open(name, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(io.NewSectionReader(f, from, math.MaxInt64-from), journal.MaxLine)
	for whole, n := true, 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := in.ReadSlice('\n')
		// A line that is too long or cannot be read finishes nothing: its sample is
		// pushed again.
		if whole && err == nil {
			if scanner, at, ok := sample.ParseFinished(line); ok {
				each(scanner, at, line)
			}
		}
		whole = err == nil
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("read ledger %s: %w", name, err)
		}
	}
}
