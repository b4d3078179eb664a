// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// lines is the intake that reads the journal: it reads both lanes, records outcomes in
// the ledger, and saves the cursors.
type lines struct {
	*books
	m      *Metrics
	source Source
	*retraction
	*recording
	outcome func(sample.Outcome) // called with each outcome after it is recorded

	lanes
	saved marks    // only the goroutine that saves the cursors has it
	held  standing // the same

	unsaved condition.Condition // the cursors cannot be saved

	mu     sync.Mutex       // guards the fields below, and those of the lanes that say so
	handed ledger.Mark      // the ledger's end when the last line was handed out, or a mark before it
	counts map[string]int64 // outcomes recorded since the start, by outcome
	paths  paths
}

// books are where what is known of one scanner is written, by the lines and their parts.
type books struct {
	scanner string
	log     *slog.Logger
	led     *ledger.Ledger
	cursors journal.Folder
}

func newBooks(c Config) *books {
	return &books{scanner: c.Scanner.Name, log: c.Log, led: c.Ledger, cursors: c.Dirs.Cursors}
}

// newLines loads the cursors, reads the tail of the ledger, and returns lines that do
// not run yet.
func newLines(ctx context.Context, c Config) (*lines, error) {
	l := &lines{
		books: newBooks(c), m: c.Metrics, source: c.Source, outcome: c.Outcome,
		counts: c.Metrics.kept(c.Scanner.Name), paths: paths{},
	}
	l.saved.from, l.saved.told = ledger.LoadMarks(l.cursors, markFile(l.scanner))
	l.recording = newRecording(l.books, c.Sync, l.saved.told, l.finished)
	for _, name := range sample.Lanes {
		lane, err := newLane(name, l.scanner, c.Scanner.Queue, c.Dirs, c.Tail(name), l.log)
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		lane.floods.trees = c.Trees
		if name == journal.Live {
			l.live = lane
		} else {
			l.backlog = lane
		}
	}
	var err error
	if l.retraction, err = newRetraction(l.books, c); err != nil {
		return nil, errors.Join(fmt.Errorf("scanner %s: %w", l.scanner, err), l.close())
	}
	// A lane without a cursor begins at its oldest line, and needs the whole ledger.
	from := ledger.Mark{}
	if !l.live.lost && !l.backlog.lost {
		from = l.saved.from
	}
	l.live.from, l.backlog.from, l.handed = from, from, from
	if err := l.readBack(ctx, c.Dirs.Journal, from, c.Tail); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// mostStrays is how many strayed lines a start reports once more. It bounds memory if a
// cursor was held back for long; the index forgot most of these lines long ago.
const mostStrays = 1 << 17

// done stands in each ledger line of a sample that was judged.
const done = `"outcome":"` + sample.Done + `"`

// readBack reads the ledger from a mark on, to learn which lines ahead of the cursors are
// finished. It reports strayed ones to the source again.
func (l *lines) readBack(ctx context.Context, dir journal.Folder, from ledger.Mark, tail func(lane string) journal.Tail) error {
	told := map[string]*ledger.Gathering{}
	for _, lane := range l.both() {
		r, err := journal.NewReader(dir, journal.Base(lane.name), lane.saved.Pos, tail(lane.name), slog.New(slog.DiscardHandler))
		if err != nil {
			return fmt.Errorf("read lane %s: %w", lane.name, err)
		}
		defer func() { _ = r.Close() }() // it only read: an error loses nothing
		told[lane.name] = ledger.NewGathering(l.scanner, lane.saved.Pos, r, ledger.FoldAt)
	}
	strays := 0
	if err := l.led.ReadBack(ctx, from, func(scanner string, at sample.At, text []byte) {
		if scanner != l.scanner {
			return
		}
		told[at.Lane].Add(ctx, at.Pos)
		if strays < mostStrays && !bytes.Contains(text, []byte(done)) && !at.Pos.Before(l.lane(at.Lane).saved.Pos) {
			if o, err := sample.ParseOutcome(text); err == nil && sample.Strayed(o) {
				strays++
				l.source.Stray(o.Path, o.At) // perhaps a crash came before the index forgot it
			}
		}
	}); err != nil {
		return err
	}
	for _, lane := range l.both() {
		lane.left = told[lane.name].End(ctx)
	}
	return nil
}

func (l *lines) close() error {
	var errs []error
	for _, lane := range l.both() {
		if lane != nil {
			errs = append(errs, lane.r.Close(), lane.floods.close())
		}
	}
	return errors.Join(errs...)
}

// Run implements intake: it hands out lines and saves the cursors until ctx ends. Before
// that it tells again what a crash may have left untold.
func (l *lines) Run(ctx context.Context) error {
	if err := tellAgain(ctx, l); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("scanner %s: %w", l.scanner, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.follow(ctx, l.live) })
	g.Go(func() error { return l.follow(ctx, l.backlog) })
	g.Go(func() error { return l.keepCursors(ctx) })
	g.Go(func() error { l.resume(ctx); return nil })
	return g.Wait()
}

// fresh implements intake.
func (l *lines) fresh(lane string) <-chan *push { return l.lane(lane).queue }

// oldest implements intake.
func (l *lines) oldest(lane string) *push {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lane(lane).front()
}

// tried implements intake.
func (l *lines) tried(t sample.Try) {
	if err := l.led.Tried(t); err != nil {
		l.log.Debug("a failed try is not on record", "path", t.Path, "error", err)
	}
}

// follow hands out the lane's lines until ctx ends. While the queue is full it waits.
func (l *lines) follow(ctx context.Context, lane *lane) error {
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	var counted <-chan struct{}
	for n := 1; ; n++ {
		changed := lane.r.Changed()
		if changed != counted { // otherwise no line came since
			l.count(ctx, lane)
			counted = changed
		}
		line, ok, err := lane.r.Next(ctx)
		if ctx.Err() != nil { // a line may be passed over without waiting for anything
			return nil
		}
		if from, to, gap := lane.r.Missed(); gap {
			l.missing(lane, from, to)
		}
		more, unfilled := false, error(nil)
		if !ok || n%gapStep == 0 { // new lines go first: they may be of trees that wait
			more, unfilled = fillGaps(ctx, l, lane)
		}
		switch lane.refused.Note(errors.Join(err, unfilled)) {
		case condition.Began:
			l.log.Error("journal cannot be read; it is tried again each second: look at the folder and the disk", "lane", lane.name, "error", err)
		case condition.Ended:
			l.log.Info("journal can be read again", "lane", lane.name)
		}
		switch {
		case err != nil:
			retry.Reset(time.Second)
			changed = nil
		case ok:
			if !l.handOut(ctx, lane, line) {
				return nil
			}
			continue
		case more:
			continue
		case unfilled != nil:
			retry.Reset(time.Second)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry.C:
		case <-lane.floods.wanted:
		}
	}
}

// count notes how many of the lane's lines are durable and not handed out yet.
func (l *lines) count(ctx context.Context, lane *lane) {
	n := lane.r.Count(ctx)
	l.mu.Lock()
	lane.ahead = n
	l.mu.Unlock()
}

// handOut queues a push for a line. It only passes over a line that is finished already, is
// meant for another scanner, or is of a tree that is flooded: see floods. It returns false
// if ctx ended first.
func (l *lines) handOut(ctx context.Context, lane *lane, at journal.Line) bool {
	s, err := sample.ParseLine(at.Text)
	if at.Long || err != nil {
		l.unreadable(lane, at, err)
		return true
	}
	ahead := lane.r.Ahead()
	l.mu.Lock()
	if end := l.led.End(); end != (ledger.Mark{}) { // otherwise keep the mark before it
		l.handed = end
	}
	lane.read, lane.ahead = at.Behind(), ahead
	if lane.left.Take(at) || sample.Passes(s, l.scanner) {
		l.mu.Unlock()
		return true
	}
	if tree := lane.floods.tree(s.Path); lane.floods.passes(tree) {
		lane.floods.pass(tree, at, l.handed, lane.left)
		l.mu.Unlock()
		return true
	}
	p := &push{line: line{sample: s, at: sample.At{Lane: lane.name, Pos: at.At}, sum: at.Cursor().Sum, mark: l.handed}}
	p.place = lane.open.PushBack(p)
	lane.floods.keep(p)
	l.paths.opened(p)
	l.mu.Unlock()
	return offer(ctx, l, lane, p)
}

// offer queues a push. It returns false if ctx ended first.
func offer(ctx context.Context, l *lines, lane *lane, p *push) bool {
	for {
		changed := lane.r.Changed()
		select {
		case lane.queue <- p:
			return true
		case <-changed:
			l.count(ctx, lane)
		case <-ctx.Done():
			return false
		}
	}
}

// wait returns true after d, or false as soon as ctx ends.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ready returns nil if the journal can be read and the ledger can be written.
func (l *lines) ready() (errs []error) {
	for _, lane := range l.both() {
		if err := lane.refused.Err(); err != nil {
			errs = append(errs, fmt.Errorf("scanner %s: the journal cannot be read, and pushing waits: %w", l.scanner, err))
			break
		}
	}
	if err := l.unwritten.Err(); err != nil {
		errs = append(errs, fmt.Errorf("scanner %s: the ledger cannot be written, and pushing waits: %w", l.scanner, err))
	}
	return errs
}
