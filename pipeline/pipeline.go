// SPDX-License-Identifier: Apache-2.0

// Package pipeline is the way of a sample, from a file that is dropped in a
// tree to the recorded outcome of each scanner.
//
// It promises:
//
//	A settled file is journaled before anything else is done with it. Every
//	journaled sample gets exactly one recorded outcome from each scanner. The
//	cursor passes only samples that have theirs. A crash can repeat a push; it
//	cannot lose one. `clean` is said only of the very bytes that a scanner was
//	handed, by a scanner that has shown that it sees; all else is `unscanned`,
//	with the reason.
//
// The way of a sample (internal/producer, then internal/consumer):
//
//	tree --event--> settle --> Sample --> journal --> index          producer
//	  \--sweep (what the index does not know)--^ |
//	                                             v
//	       cursor <-- ledger <-- verdict <-- worker: open, hash, scan   consumer,
//	                                                           one for each scanner
//
// Invariants:
//
//  1. Events are hints. The tree itself, compared with the index, is the truth: each
//     doubt ends in a sweep.
//  2. A consumer gets only durable lines.
//  3. An outcome is durable in the ledger before the cursor passes its line. At start
//     the ledger's tail tells which lines ahead of a cursor are finished.
//  4. At most `workers` samples are pushed and have no outcome in the ledger yet. So the
//     end of the process repeats at most that many pushes. An outcome is durable
//     Ledger.Sync after it was written, at the latest: a power cut repeats the pushes of
//     that time too.
//  5. An answer is a verdict only if it is tied to its sample and the grammar knows it.
//     A failed try counts only if the scanner judged another sample, or the canary,
//     since.
//  6. No segment is pruned ahead of a cursor or of the index's mark on disk.
//  7. A sample is never altered.
//
// Goroutines: Run starts those of the producer, the consumers, the ledger, the cache
// and the keys, and where the producer is another process one for each lane that follows
// its journal. It waits for all of them. Any goroutine may call the other methods.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/consumer"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/look"
	"github.com/certpush/certpush/pipeline/internal/producer"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// ErrLocked is the error if another process holds the state or the journal folder for
// the same half.
var ErrLocked = journal.ErrLocked

// openAgain is how long Run waits before it tries again to open a state that the disk
// refused.
const openAgain = 2 * time.Second

// Pipeline is the way of a sample. Call New, then Run.
type Pipeline struct {
	c      Config
	intake *producer.Metrics
	pushes *consumer.Metrics

	verifying sync.Mutex               // the Verify that runs holds it
	verified  atomic.Pointer[verified] // what the last Verify found; nil: there was none

	trouble condition.Condition // the state cannot be opened
	letters look.Letters        // the dead letters that are on the list

	mu      sync.Mutex // guards the fields below
	running bool       // Run has begun and has not returned
	now     halves
}

// halves holds the parts that run while the state is open.
type halves struct {
	started   time.Time          // when the state was opened last
	producer  *producer.Producer // nil: another process has the producer
	consumers []*consumer.Consumer
	lanes     *journal.Lanes // nil: as with producer
	ledger    *ledger.Ledger // nil: another process has the consumers
}

// open reports whether the state is open.
func (h halves) open() bool { return h.producer != nil || h.consumers != nil }

// New checks c and returns a Pipeline that does not run yet. It opens and starts
// nothing. The error says what is wrong with c.
func New(c Config) (*Pipeline, error) {
	c, err := c.Filled()
	if err != nil {
		return nil, err
	}
	for _, s := range c.Scanners {
		if _, err := consumer.Scanner(s, c.Log); err != nil {
			return nil, err
		}
	}
	p := &Pipeline{c: c, intake: c.Counters.intake, pushes: c.Counters.pushes}
	if c.Registry != nil {
		for _, m := range slices.Concat(p.intake.All(), p.pushes.All(), []prometheus.Collector{gauges{p}}) {
			if err := c.Registry.Register(m); err != nil {
				return nil, fmt.Errorf("register metrics: %w", err)
			}
		}
	}
	return p, nil
}

// Run watches, journals and pushes until ctx ends. It returns when all that it started
// has stopped. The error is nil after a clean stop, and wraps ErrLocked if another
// process holds the folders. While the disk refuses to open the state, Run waits and
// tries again; Ready says so.
func (p *Pipeline) Run(ctx context.Context) error {
	p.runs(true)
	defer p.runs(false)
	for {
		err := p.run(ctx)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil // ctx ended while the state was being opened
		}
		if err == nil || ctx.Err() != nil || !store.Passes(err) && !errors.Is(err, store.ErrHeld) && !errors.Is(err, errInside) {
			return err
		}
		if p.trouble.Note(err) == condition.Began {
			p.c.Log.Error("the state cannot be opened; it is tried again every few seconds: make room on its disk, or mend it", "state", p.c.State, "error", err)
		}
		t := time.NewTimer(openAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// runs notes whether Run runs.
func (p *Pipeline) runs(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = on
}

// run opens the state, runs both halves until ctx ends, and closes the state.
func (p *Pipeline) run(ctx context.Context) (err error) {
	o := &opening{p: p, tails: map[string]journal.Tail{}}
	defer func() {
		p.mu.Lock()
		p.now = halves{started: p.now.started}
		p.mu.Unlock()
		err = errors.Join(err, o.close())
	}()
	if err := o.open(ctx); err != nil {
		return outOf(err)
	}
	p.tellForeign(o.dirs, o.led)
	p.mu.Lock()
	p.now = halves{time.Now(), o.prod, o.consumers, o.lanes, o.led}
	p.mu.Unlock()
	if p.trouble.Note(nil) == condition.Ended {
		p.c.Log.Info("the state is open", "state", p.c.State)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range o.run {
		g.Go(func() error { return r(ctx) })
	}
	return outOf(inside(g.Wait()))
}
