// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certpush/certpush/pipeline/internal/cache"
	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
)

const (
	joinFor        = 250 * time.Millisecond // a session takes in further pushes for this time at most
	sessionsAtOnce = 2                      // sessions at once that are not slow, at most
	batchMost      = 64                     // pushes in one session at a time, at most
	batchBytes     = 8 << 20                // and so many bytes, until no more join
	slowAfter      = 300 * time.Millisecond // a session that lasts longer is slow
)

// workers take pushes from an intake and push them to the scanner, in sessions.
type workers struct {
	c       config.Scanner
	in      intake
	scanner scan.Scanner
	cache   *cache.Cache // used if c.Cache is set
	m       *Metrics
	grace   time.Duration // a stop waits this long for the pushes in flight

	opener   *opener
	health   *health
	sights   *sights
	barred   *barred
	turns    *turns
	trials   *trials
	restless *restless
	quota    *quota

	pace     *pace         // a place for each push in a session
	sessions chan struct{} // one token for each session that is not slow

	flying atomic.Int64 // pushes in sessions
	moved  atomic.Int64 // when something moved last, in Unix nanoseconds
}

func newWorkers(c Config, in intake) *workers {
	s := c.Scanner
	w := &workers{
		c: s, in: in, scanner: c.Scan, cache: c.Cache, m: c.Metrics, grace: c.Grace,
		opener: newOpener(c.Trees, s.Cache > 0 || s.Copy, scan.HandsOver(c.Scan), c.Copies, c.Metrics.uncopied.WithLabelValues(s.Name)), turns: newTurns(in, c.Trees), restless: &restless{changes: map[string]int{}},
		quota: newQuota(s.Rate), pace: newPace(s, c.Scan),
		// Few sessions with many pushes, because a session costs the scanner a connection.
		// Two, so that the scanner has work while one of them ends and is recorded.
		sessions: make(chan struct{}, min(s.MostWorkers(), sessionsAtOnce)),
	}
	w.sights, w.barred = newSights(c, in), newBarred(c.Log)
	w.health = newHealth(s, c.Scan, w.sights, c.Log)
	w.trials = newTrials(c, in, w.health, w.turns)
	w.moves()
	return w
}

func newTrials(c Config, in intake, h *health, t *turns) *trials {
	return &trials{c: c.Scanner, log: c.Log, m: c.Metrics, in: in, source: c.Source, health: h, turns: t, crowd: newCrowding(), reads: map[string]uint64{}}
}

// moves notes that pushing moves: see Stuck.
func (w *workers) moves() { w.moved.Store(time.Now().UnixNano()) }

// dispatch gives each free worker the next push until ctx ends. It returns when all
// sessions have ended; after grace it interrupts them.
func (w *workers) dispatch(ctx context.Context) error {
	hand, drop := context.WithCancel(context.WithoutCancel(ctx))
	defer drop()
	var sessions sync.WaitGroup
	for {
		if !w.pace.take(ctx, w.turns.ready) || ctx.Err() != nil || w.health.wait(ctx) != nil {
			break
		}
		select {
		case w.sessions <- struct{}{}:
		case <-ctx.Done():
		}
		p := w.turns.next(ctx)
		// The scanner may have gone down or been paused while there was nothing to push.
		if p == nil || w.quota.wait(ctx) != nil || w.health.wait(ctx) != nil {
			break // the push that was taken is not finished: the cursor stays before its line
		}
		over := sync.OnceFunc(func() { <-w.sessions })
		if p.trial.alone {
			over() // a bad sample that hangs must not keep good ones waiting
		}
		sessions.Go(func() {
			defer over()
			defer w.moves()
			// Nor must a slow session.
			slow := time.AfterFunc(slowAfter, over)
			defer slow.Stop()
			w.session(ctx, hand, p)
		})
	}
	late := time.AfterFunc(w.grace, drop)
	defer late.Stop()
	sessions.Wait()
	return nil
}
