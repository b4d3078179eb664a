// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certpush/certpush/pipeline/internal/cache"
	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
)

// Config says what a Consumer pushes, to which scanner, and where it records outcomes.
type Config struct {
	Scanner config.Scanner
	Scan    scan.Scanner // the scanner itself
	Trees   []config.Tree
	Grace   time.Duration        // a stop waits this long for the pushes in flight
	Outcome func(sample.Outcome) // called with each outcome after it is recorded, and after a crash perhaps once more; it must not block

	Dirs    *store.Folders                 // open; must be closed after the Consumer
	Tail    func(lane string) journal.Tail // how far a lane may be read
	Ledger  *ledger.Ledger
	Sync    time.Duration // an outcome is durable at the latest so long after it was written; 0: before its place is given back
	Cache   *cache.Cache  // of verdicts; needed where Scanner.Remembers
	Copies  *Copies       // shared by all consumers
	Deep    chan struct{} // shared by all consumers: it has room for one token for each deep canary at a time; nil: one of its own
	Source  Source        // is told what became of its samples
	Metrics *Metrics
	Log     *slog.Logger
}

// Consumer pushes the journal's lines to one scanner. Call New, then Run, then Close.
type Consumer struct {
	c       Config
	lines   *lines
	workers *workers
	holders *holders
}

// New loads the cursors, opens the readers, reads the tail of the ledger, and returns a
// Consumer that does not run yet.
func New(ctx context.Context, c Config) (*Consumer, error) {
	c.Log = c.Log.With("scanner", c.Scanner.Name)
	c.Metrics.begin(c.Scanner.Name)
	l, err := newLines(ctx, c)
	if err != nil {
		return nil, err
	}
	k := &Consumer{c: c, lines: l, workers: newWorkers(c, l), holders: newHolders(l, c.Log)}
	if c.Scanner.Judges() && !k.workers.sights.asks {
		c.Log.Warn(`no canary asks this scanner, so nothing is called clean: write sight = "10m", or take the line sight or canary out`)
	}
	if err := k.loadPause(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// Close closes what New opened.
func (k *Consumer) Close() error {
	k.lines.mu.Lock()
	k.c.Metrics.keep(k.Name(), k.lines.counts)
	k.lines.mu.Unlock()
	return k.lines.close()
}

// Run pushes until ctx ends. Then it waits until the pushes in flight are finished;
// those that last longer than Grace are interrupted and given back. At last it saves the
// cursors.
func (k *Consumer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return k.lines.Run(ctx) })
	g.Go(func() error { return k.workers.health.Run(ctx) })
	for _, e := range k.workers.sights.eyes {
		g.Go(func() error { return k.workers.sights.tend(ctx, e, k.workers.health) })
	}
	g.Go(func() error { return k.holders.Run(ctx, k.workers.health.open, k.workers.trials.crowdOver) })
	g.Go(func() error { return k.workers.dispatch(ctx) })
	over, synced := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(synced)
		k.lines.syncs(ctx, over)
	}()
	err := g.Wait()
	close(over)
	<-synced
	rest(k.c.Scan)
	k.lines.trySaving()
	at, mark := k.Stand()
	k.c.Log.Debug("pushing has ended", "live", at[journal.Live].String(), "backlog", at[journal.Backlog].String(), "mark", strings.TrimSpace(mark.String()))
	return err
}

// rest ends the connections that a scanner keeps.
func rest(s scan.Scanner) {
	if k, is := s.(scan.Keeping); is {
		k.Rest()
	}
}

// Stand returns the cursors as they are in memory, and the mark that fits them. Those on
// disk may lag.
func (k *Consumer) Stand() (cursors map[string]journal.Pos, mark ledger.Mark) {
	at, mark := k.lines.stand()
	cursors = map[string]journal.Pos{}
	for lane, c := range at {
		cursors[lane] = c.Pos
	}
	return cursors, mark
}

// Name returns the scanner's name.
func (k *Consumer) Name() string { return k.c.Scanner.Name }

// SavedMark returns the mark as it is on disk. A start after a crash reads the ledger
// from there, so everything from this mark on must be kept.
func (k *Consumer) SavedMark() ledger.Mark {
	return ledger.LoadMark(k.lines.cursors, markFile(k.lines.scanner))
}

// Marks returns the marks from which on the ledger must be kept: SavedMark, that up to
// which outcomes are told, and those behind which verdicts may have to be taken back.
func (k *Consumer) Marks() []ledger.Mark {
	from, told := ledger.LoadMarks(k.lines.cursors, markFile(k.lines.scanner))
	all := append(k.lines.needs(), from)
	if told != nil {
		all = append(all, *told)
	}
	return all
}

// Ready returns nothing if the scanner answered its last ping and sees, or is paused, and
// the journal can be read, the ledger can be written, and files can be opened. Otherwise it
// returns what fails. No error names a sample.
func (k *Consumer) Ready() (errs []error) {
	switch h := k.workers.health.state(); {
	case h.paused: // it is asked nothing, and its samples wait as they are told to
	case h.blind:
		errs = append(errs, fmt.Errorf("scanner %s is blind at every address: %s", k.Name(), h.why))
	case !h.up:
		errs = append(errs, fmt.Errorf("scanner %s did not answer its last ping", k.Name()))
	}
	errs = append(errs, k.lines.ready()...)
	if err := k.workers.trials.short.Err(); err != nil {
		if at, ok := errors.AsType[*fs.PathError](err); ok {
			err = at.Err // without the path
		}
		errs = append(errs, fmt.Errorf("scanner %s: samples cannot be opened for want of descriptors or memory, and wait: %w", k.Name(), err))
	}
	return errs
}
