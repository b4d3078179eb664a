// SPDX-License-Identifier: Apache-2.0

package pipeline

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
	ledgerBase = "verdicts.log"
	triesBase  = "tries.log"
	ledgerCut  = 64 << 20 // bytes
)

// ledger is the append-only record of outcomes, and beside it of the failed tries
// on the way there.
type ledger struct {
	dir    journal.Folder
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
	sealed   mark
	order    []string // of the heads that this process saw
}

func openLedger(d journal.Disk, dir string, keep int, log *slog.Logger) (*ledger, error) {
	s, err := journal.OpenSeries(journal.Config{Disk: d, Dir: dir, Base: ledgerBase, CutSize: ledgerCut}, log)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	tries, err := journal.OpenSeries(journal.Config{Disk: d, Dir: dir, Base: triesBase, CutSize: ledgerCut}, log)
	if store.Refuses(err) || errors.Is(err, fs.ErrPermission) {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), s.Close()) // it is waited for
	}
	if err != nil {
		log.Error("failed tries are not on record, for their file cannot be used; all else goes on: move it away and start certpush again", "error", err)
		tries = nil // no promise rests on it
	}
	return &ledger{dir: s.Folder(), keep: keep, series: s, tries: tries, log: log, day: time.Now().UTC().Format(time.DateOnly)}, nil
}

// record appends outcomes and returns when they are durable.
func (l *ledger) record(all []sample.Outcome) error {
	lines := make([][]byte, len(all))
	for i, o := range all {
		lines[i] = sample.AppendLine(make([]byte, 0, 512), o)
	}
	// A crash before this returns: the samples in hand are pushed again. After it:
	// the ledger's tail says that they are finished.
	_, _, err := l.series.Append(lines...)
	return err
}

// end returns the mark of all that is recorded now: while the active segment is
// empty the end of the one before it. It is zero while nothing is recorded.
func (l *ledger) end() mark {
	p := l.series.Durable()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.headSeg == p.Segment && l.head != "":
		return mark{l.head, p.Offset}
	case l.emptySeg == p.Segment && p.Offset == 0:
		return l.sealed
	}
	head, err := headOf(l.dir, ledgerBase)
	switch {
	case err != nil || l.series.Durable().Segment != p.Segment:
		return mark{}
	case head != "":
		l.headSeg, l.head = p.Segment, head
		l.saw(head)
		return mark{head, p.Offset}
	case l.emptySeg != p.Segment:
		m, err := l.sealedEnd()
		if err != nil || l.series.Durable().Segment != p.Segment {
			return mark{}
		}
		l.emptySeg, l.sealed = p.Segment, m
		l.saw(m.head)
	}
	return l.sealed
}

// sealedEnd returns the end of the newest sealed segment, zero when there is none.
func (l *ledger) sealedEnd() (mark, error) {
	names, err := journal.Segments(l.dir, ledgerBase)
	if err != nil || len(names) < 2 {
		return mark{}, err
	}
	name := names[len(names)-2]
	head, err := headOf(l.dir, name)
	if err != nil || head == "" {
		return mark{}, err
	}
	st, err := l.dir.Lstat(name)
	if err != nil {
		return mark{}, err
	}
	return mark{head, st.Size()}, nil
}

// saw notes a head, for before.
func (l *ledger) saw(head string) {
	if head != "" && !slices.Contains(l.order, head) {
		l.order = append(l.order, head)
	}
}

// before reports whether a lies before b, as far as this process saw them; what
// it did not see is older.
func (l *ledger) before(a, b mark) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, j := slices.Index(l.order, a.head), slices.Index(l.order, b.head)
	return i < j || i == j && a.offset < b.offset
}

// readBack calls each for every finished line recorded from m on. When m's
// segment cannot be found the whole ledger is read. That may be long: it ends with
// ctx.
func (l *ledger) readBack(ctx context.Context, m mark, each func(scanner string, at sample.At)) error {
	names, err := journal.Segments(l.dir, ledgerBase)
	if err != nil {
		return fmt.Errorf("list ledger: %w", err)
	}
	first := 0
	for i, name := range names {
		head, err := headOf(l.dir, name)
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
		err := readOutcomes(l.dir, name, from, each)
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

// tend cuts the ledger when the day changed, and prunes what is more than keep
// and before all of need.
func (l *ledger) tend(now time.Time, need []mark) error {
	if day := now.UTC().Format(time.DateOnly); day != l.day {
		err := l.series.Cut(now)
		if l.tries != nil {
			err = errors.Join(err, l.tries.Cut(now))
		}
		if err != nil {
			return fmt.Errorf("cut ledger: %w", err)
		}
		l.day = day
	}
	if l.tries != nil {
		if _, err := l.tries.Prune(l.keep, func([]byte) bool { return true }); err != nil {
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
	_, err := l.series.Prune(l.keep, func(first []byte) bool {
		return !heads[headOfLine(first)]
	})
	return err
}

func (l *ledger) close() error {
	err := l.series.Close()
	if l.tries != nil {
		err = errors.Join(err, l.tries.Close())
	}
	return err
}

// tried notes a failed try.
func (l *ledger) tried(t sample.Try) error {
	if l.tries == nil {
		return nil // said at the start
	}
	_, _, err := l.tries.Append(sample.AppendLine(nil, t))
	return err
}
