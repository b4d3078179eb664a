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
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

const (
	Base      = "verdicts.log"
	TriesBase = "tries.log"
	ledgerCut = 64 << 20 // bytes
)

// Ledger is the append-only record of outcomes, and beside it of the failed tries
// on the way there.
type Ledger struct {
	Dir    journal.Folder
	keep   int
	series *journal.Series
	tries  *journal.Series // nil: its file is not ours
	log    *slog.Logger
	day    string // of the last cut or the start; tend has one caller

	mu      sync.Mutex
	headSeg uint64
	head    string // first line's hash of the active segment headSeg
	// While the active segment, emptySeg, is empty: the end of the one before it.
	emptySeg uint64
	sealed   Mark
	order    []string // of the heads that this process saw
}

func Open(d journal.Disk, dir string, keep int, log *slog.Logger) (*Ledger, error) {
	s, err := journal.OpenSeries(journal.Config{Disk: d, Dir: dir, Base: Base, CutSize: ledgerCut}, log)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	tries, err := journal.OpenSeries(journal.Config{Disk: d, Dir: dir, Base: TriesBase, CutSize: ledgerCut}, log)
	if store.Refuses(err) || errors.Is(err, fs.ErrPermission) {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), s.Close()) // it is waited for
	}
	if err != nil {
		log.Error("failed tries are not on record, for their file cannot be used; all else goes on: move it away and start certpush again", "error", err)
		tries = nil // no promise rests on it
	}
	return &Ledger{Dir: s.Folder(), keep: keep, series: s, tries: tries, log: log, day: time.Now().UTC().Format(time.DateOnly)}, nil
}

// Record appends outcomes and returns when they are durable.
func (l *Ledger) Record(all []sample.Outcome) error {
	lines := make([][]byte, len(all))
	for i, o := range all {
		lines[i] = sample.AppendLine(make([]byte, 0, 512), o)
	}
	// A crash before this returns: the samples in hand are pushed again. After it:
	// the ledger's tail says that they are finished.
	_, _, err := l.series.Append(lines...)
	return err
}

// End returns the mark of all that is recorded now: while the active segment is
// empty the end of the one before it. It is zero while nothing is recorded.
func (l *Ledger) End() Mark {
	p := l.series.Durable()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.headSeg == p.Segment && l.head != "":
		return Mark{l.head, p.Offset}
	case l.emptySeg == p.Segment && p.Offset == 0:
		return l.sealed
	}
	head, err := headOf(l.Dir, Base)
	switch {
	case err != nil || l.series.Durable().Segment != p.Segment:
		return Mark{}
	case head != "":
		l.headSeg, l.head = p.Segment, head
		l.saw(head)
		return Mark{head, p.Offset}
	case l.emptySeg != p.Segment:
		m, err := l.sealedEnd()
		if err != nil || l.series.Durable().Segment != p.Segment {
			return Mark{}
		}
		l.emptySeg, l.sealed = p.Segment, m
		l.saw(m.head)
	}
	return l.sealed
}

// sealedEnd returns the end of the newest sealed segment, zero when there is none.
func (l *Ledger) sealedEnd() (Mark, error) {
	names, err := journal.Segments(l.Dir, Base)
	if err != nil || len(names) < 2 {
		return Mark{}, err
	}
	name := names[len(names)-2]
	head, err := headOf(l.Dir, name)
	if err != nil || head == "" {
		return Mark{}, err
	}
	st, err := l.Dir.Lstat(name)
	if err != nil {
		return Mark{}, err
	}
	return Mark{head, st.Size()}, nil
}

// saw notes a head, for before.
func (l *Ledger) saw(head string) {
	if head != "" && !slices.Contains(l.order, head) {
		l.order = append(l.order, head)
	}
}

// Before reports whether a lies before b, as far as this process saw them; what
// it did not see is older.
func (l *Ledger) Before(a, b Mark) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, j := slices.Index(l.order, a.head), slices.Index(l.order, b.head)
	return i < j || i == j && a.offset < b.offset
}

// ReadBack calls each for every finished line recorded from m on. When m's
// segment cannot be found the whole ledger is read. That may be long: it ends with
// ctx.
func (l *Ledger) ReadBack(ctx context.Context, m Mark, each func(scanner string, at sample.At)) error {
	names, err := journal.Segments(l.Dir, Base)
	if err != nil {
		return fmt.Errorf("list ledger: %w", err)
	}
	first := 0
	for i, name := range names {
		head, err := headOf(l.Dir, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("read ledger: %w", err)
		}
		if m.head != "" && head == m.head {
			first = i
			break
		}
		if i == len(names)-1 {
			m.offset = 0
		}
	}
	for i, name := range names[first:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		from := int64(0)
		if i == 0 {
			from = m.offset
		}
		err := readOutcomes(l.Dir, name, from, each)
		if errors.Is(err, fs.ErrPermission) {
			l.log.Error("ledger segment cannot be read; lines that it tells of may be pushed again: let the user that certpush runs as read it", "segment", name, "error", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readOutcomes(d journal.Folder, name string, from int64, each func(scanner string, at sample.At)) error {
	f, err := d.Open(name, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(io.NewSectionReader(f, from, math.MaxInt64-from), journal.MaxLine)
	for whole := true; ; {
		line, err := in.ReadSlice('\n')
		// An unreadable line, as one that is too long, finishes nothing: its sample is
		// pushed again.
		if whole && err == nil {
			if scanner, at, ok := sample.ParseFinished(line); ok {
				each(scanner, at)
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

// Run cuts and prunes the ledger once a minute, until ctx ends. marks tells the marks
// that are on disk.
func (l *Ledger) Run(ctx context.Context, marks func() []Mark) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			if err := l.Tend(now, l.keep, marks()); err != nil {
				l.log.Error("ledger cannot be cut or pruned; it is tried again each minute: look at the disk", "error", err)
			}
		}
	}
}

// Cut seals the active segments and begins the next ones.
func (l *Ledger) Cut(now time.Time) error {
	err := l.series.Cut(now)
	if l.tries != nil {
		err = errors.Join(err, l.tries.Cut(now))
	}
	if err != nil {
		return fmt.Errorf("cut ledger: %w", err)
	}
	return nil
}

// Tend cuts the ledger when the day changed, and prunes the segments that are more
// than keep and before every mark of need.
func (l *Ledger) Tend(now time.Time, keep int, need []Mark) error {
	if day := now.UTC().Format(time.DateOnly); day != l.day {
		if err := l.Cut(now); err != nil {
			return err
		}
		l.day = day
	}
	if l.tries != nil {
		if _, err := l.tries.Prune(keep, func([]byte) bool { return true }); err != nil {
			return err
		}
	}
	heads := map[string]bool{}
	for _, m := range need {
		if m.head == "" {
			return nil
		}
		heads[m.head] = true
	}
	_, err := l.series.Prune(keep, func(first []byte) bool {
		return !heads[headOfLine(first)]
	})
	return err
}

func (l *Ledger) Close() error {
	err := l.series.Close()
	if l.tries != nil {
		err = errors.Join(err, l.tries.Close())
	}
	return err
}

// Tried notes a failed try.
func (l *Ledger) Tried(t sample.Try) error {
	if l.tries == nil {
		return nil // said at the start
	}
	_, _, err := l.tries.Append(sample.AppendLine(nil, t))
	return err
}
