// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// The series of the ledger's folder.
const (
	Base      = "verdicts.log" // outcomes
	TriesBase = "tries.log"    // failed tries
	ledgerCut = 64 << 20       // bytes
)

// Ledger is the append-only record of outcomes, and beside it of the failed tries.
type Ledger struct {
	Dir     journal.Folder
	bounds  Bounds
	series  *journal.Series
	tries   *journal.Series // nil: its file cannot be used
	log     *slog.Logger
	tending condition.Condition // it cannot be cut or pruned
	day     string              // of the last cut, or of the start, UTC; Tend's own

	mu      sync.Mutex // guards the fields below
	headSeg uint64
	head    string // the hash of the first line of the active segment headSeg
	// If emptySeg is the active segment and still empty, sealed is the end of the
	// segment before it.
	emptySeg uint64
	sealed   Mark
	order    []string // the heads that this process saw, oldest first
}

// Open opens the ledger in dir. If the file of the failed tries cannot be used, it logs
// that and goes on without it. But if something hinders that (store.Hinders), it returns
// an error, and the caller tries again.
func Open(d journal.Disk, dir string, b Bounds, log *slog.Logger) (*Ledger, error) {
	s, err := journal.OpenSeries(journal.Config{Disk: d, Dir: dir, Base: Base, CutSize: ledgerCut, Spare: b.spares}, log)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	tries, err := journal.OpenSeries(journal.Config{Disk: d, Dir: dir, Base: TriesBase, CutSize: ledgerCut}, log)
	if store.Hinders(err) {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), s.Close()) // the caller waits and tries again
	}
	if err != nil {
		log.Error("failed tries are not on record, for their file cannot be used; all else goes on: move it away and start certpush again", "error", err)
		tries = nil // no promise rests on it
	}
	return &Ledger{Dir: s.Folder(), bounds: b, series: s, tries: tries, log: log, day: time.Now().UTC().Format(time.DateOnly)}, nil
}

// Record appends outcomes and returns when they are durable. After an error none of
// them counts as recorded.
func (l *Ledger) Record(all []sample.Outcome) error {
	// A crash before Append returns: these samples are pushed again. A crash after it:
	// at the next start the ledger's tail says that they are finished.
	_, _, err := l.series.Append(linesOf(all)...)
	return err
}

// Written is what one Write wrote.
type Written = journal.Written

// Write writes outcomes, which are not durable before Sync. After an error none of them
// counts as written.
func (l *Ledger) Write(all []sample.Outcome) (Written, error) {
	// A crash of the process after Write returned: the next start finds the outcomes. A
	// crash of the system before Sync returned: these samples are pushed again.
	return l.series.Write(linesOf(all)...)
}

// Sync makes all durable that is written, and returns when w is. After an error w's
// outcomes are not in the ledger, whoever's sync it was that failed.
func (l *Ledger) Sync(w Written) error { return l.series.Sync(w) }

func linesOf(all []sample.Outcome) [][]byte {
	lines := make([][]byte, len(all))
	for i, o := range all {
		lines[i] = sample.AppendLine(make([]byte, 0, 512), o)
	}
	return lines
}

// End returns the mark behind all outcomes that are durable now. While none in the active
// segment is, it is the end of the segment before it. It is the zero Mark, which
// means the whole ledger, while nothing is recorded, or if the place cannot be named
// now.
func (l *Ledger) End() Mark {
	m, _ := l.Place()
	return m
}

// Place is End that tells whether the place can be named now.
func (l *Ledger) Place() (m Mark, named bool) {
	p := l.series.Durable()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.headSeg == p.Segment && l.head != "":
		return Mark{l.head, p.Offset}, true
	case l.emptySeg == p.Segment && p.Offset == 0:
		return l.sealed, true
	}
	head, err := "", error(nil)
	if p.Offset > 0 { // a first line that is not durable may still go
		head, err = headOf(l.Dir, Base)
	}
	switch {
	case err != nil || l.series.Durable().Segment != p.Segment:
		return Mark{}, false
	case head != "":
		l.headSeg, l.head = p.Segment, head
		l.saw(head)
		return Mark{head, p.Offset}, true
	case l.emptySeg != p.Segment:
		m, err := l.sealedEnd()
		if err != nil || l.series.Durable().Segment != p.Segment {
			return Mark{}, false
		}
		l.emptySeg, l.sealed = p.Segment, m
		l.saw(m.head)
	}
	return l.sealed, true
}

// sealedEnd returns the end of the newest sealed segment. It is the zero Mark if there
// is none.
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

// saw notes a head, for Before. The caller holds l.mu.
func (l *Ledger) saw(head string) {
	if head != "" && !slices.Contains(l.order, head) {
		l.order = append(l.order, head)
	}
}

// Before reports whether a lies before b. A mark in a segment that this process did not
// see counts as older than all that it saw.
func (l *Ledger) Before(a, b Mark) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, j := slices.Index(l.order, a.head), slices.Index(l.order, b.head)
	return i < j || i == j && a.offset < b.offset
}

// ReadBack calls each for every finished line that was recorded from m on. If m's
// segment is not found, it reads the whole ledger. That may take long: it ends with
// ctx's error. It logs and passes over a segment that it may not read; the lines in it
// are pushed again.
func (l *Ledger) ReadBack(ctx context.Context, m Mark, each func(scanner string, at sample.At, text []byte)) error {
	return readBack(ctx, l.Dir, []Mark{m}, l.log, each)
}

// ReadOn is ReadBack that reads nothing if m's segment is not found. If the ledger is cut
// meanwhile it begins again, so it may call each twice for a line.
func (l *Ledger) ReadOn(ctx context.Context, m Mark, each func(scanner string, at sample.At, text []byte)) error {
	for {
		names, err := journal.Segments(l.Dir, Base)
		if err != nil {
			return fmt.Errorf("list ledger: %w", err)
		}
		_, _, found, err := oldest(ctx, l.Dir, names, []Mark{m})
		switch {
		case err != nil:
			return err
		case found || m == Mark{}:
			if err := l.ReadBack(ctx, m, each); err != nil {
				return err
			}
		}
		// A segment that was sealed meanwhile may not have been found, or not have been read.
		if now, err := journal.Segments(l.Dir, Base); err == nil && slices.Equal(now, names) {
			return nil
		}
	}
}

// ReadAll is ReadBack for one who must know all: a segment that may not be read is an
// error, and if the ledger is cut meanwhile it begins again. Before each time it calls
// begin.
func (l *Ledger) ReadAll(ctx context.Context, m Mark, begin func(), each func(scanner string, at sample.At, text []byte)) error {
	for {
		was, err := journal.Segments(l.Dir, Base)
		if err != nil {
			return fmt.Errorf("list ledger: %w", err)
		}
		for _, name := range was {
			if _, err := headOf(l.Dir, name); errors.Is(err, fs.ErrPermission) {
				return fmt.Errorf("read ledger: %w", err)
			}
		}
		begin()
		if err := readBack(ctx, l.Dir, []Mark{m}, l.log, each); err != nil {
			return err
		}
		// A segment that was sealed meanwhile may not have been read. One that was pruned
		// changes the names too, and costs another turn.
		if now, err := journal.Segments(l.Dir, Base); err == nil && slices.Equal(now, was) {
			return nil
		}
	}
}

// Run cuts and prunes the ledger once a minute, until ctx ends. marks returns the marks
// that are on disk. Each second it looks at the free space.
func (l *Ledger) Run(ctx context.Context, marks func() []Mark) error {
	t, room := time.NewTicker(time.Minute), time.NewTicker(time.Second)
	defer t.Stop()
	defer room.Stop()
	var short bool
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-room.C:
			short = l.makeRoom(short, marks)
		case now := <-t.C:
			err := l.Tend(now, l.bounds.Keep, marks())
			if short {
				err = errors.Join(err, l.prune(0, 0, marks()))
			}
			l.tell(err)
		}
	}
}

func (l *Ledger) tell(err error) {
	switch l.tending.Note(err) {
	case condition.Began:
		l.log.Error("ledger cannot be cut or pruned; it is tried again each minute: look at the disk", "error", err)
	case condition.Ended:
		l.log.Info("ledger is cut and pruned again")
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

// Tend cuts the ledger if the day (UTC) changed. Then it prunes the sealed segments
// before the first one that a mark of need names; the newest keep of them stay. If a
// mark of need is zero, it prunes no outcomes. Failed tries are pruned by keep alone.
func (l *Ledger) Tend(now time.Time, keep int, need []Mark) error {
	if day := now.UTC().Format(time.DateOnly); day != l.day {
		if err := l.Cut(now); err != nil {
			return err
		}
		l.day = day
	}
	return l.prune(keep, l.bounds.Max, need)
}

// prune is Tend without a cut. Segments stay that have more than most bytes together only
// if they tell of dead letters that are on the list. With most 0 it makes room: keep does
// not count.
func (l *Ledger) prune(keep int, most int64, need []Mark) error {
	if most == 0 {
		keep = math.MaxInt
	}
	if l.tries != nil {
		if _, err := l.tries.Prune(keep, most, func([]byte) bool { return true }); err != nil {
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
	_, err := l.series.Prune(keep, most, func(first []byte) bool {
		return !heads[headOfLine(first)]
	})
	return err
}

// Close closes the files of outcomes and of failed tries.
func (l *Ledger) Close() error {
	err := l.series.Close()
	if l.tries != nil {
		err = errors.Join(err, l.tries.Close())
	}
	return err
}

// Tried records a failed try, durably. It does nothing if the file of the tries cannot
// be used.
func (l *Ledger) Tried(t sample.Try) error {
	if l.tries == nil {
		return nil // Open logged it
	}
	_, _, err := l.tries.Append(sample.AppendLine(nil, t))
	return err
}
