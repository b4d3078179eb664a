// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

// A file of terabytes takes hours to hash. It is hashed in turns: it gives its
// worker back when others wait for one, and goes on where it was when none does,
// or once in a while.
const (
	turnFor   = 500 * time.Millisecond // a hash is not interrupted before
	turnEvery = 5 * time.Second        // one of those that gave way goes on, whoever waits
)

// enough returns what interrupts p's hash: after its turn, when the stop was asked
// for, others are in the same session, or lines wait and every worker is taken.
// A line whose path has one parked already takes its place, and has no turn before.
func (c *consumer) enough(ctx context.Context, p *push, joined bool) func() bool {
	if p.part == nil && c.parkedAt(p.sample.Path) {
		return func() bool { return true }
	}
	begun := time.Now()
	return func() bool {
		c.moved.Store(time.Now().UnixNano()) // it reads on: it is not stuck
		return time.Since(begun) > turnFor && (joined || ctx.Err() != nil || c.wanted())
	}
}

// wanted reports whether something is ready to be pushed and finds no worker.
func (c *consumer) wanted() bool {
	if len(c.places) < cap(c.places) {
		return false
	}
	if len(c.live.queue)+len(c.backlog.queue) > 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.retries) > 0 && !c.retries[0].due.After(time.Now())
}

// parkedAt reports whether a line of this path is parked.
func (c *consumer) parkedAt(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.parked, func(q *push) bool { return q.sample.Path == path })
}

// park puts p aside; it holds no worker there. It returns the line of the same path
// that was parked, if there is one: p takes its place. Else a large file whose owner
// touches it now and then would have a line there for each time, and each be hashed.
func (c *consumer) park(p *push) (old *push) {
	c.mu.Lock()
	if len(c.parked) == 0 {
		c.resumed = time.Now()
	}
	i := slices.IndexFunc(c.parked, func(q *push) bool { return q.sample.Path == p.sample.Path && !q.sample.Bare() })
	if i < 0 {
		c.parked = append(c.parked, p)
	} else {
		old, c.parked[i] = c.parked[i], p
		p.goOnFrom(old)
	}
	c.mu.Unlock()
	select {
	case c.woken <- struct{}{}:
	default:
	}
	return old
}

// goOnFrom takes over how far the hash of old has come, where that is p's too.
func (p *push) goOnFrom(old *push) {
	same := old.part.stat.Same(p.part.stat)
	if same && old.part.read > p.part.read || p.borne() {
		p.part.hash, p.part.read, p.torn = old.part.hash, old.part.read, p.torn || old.torn || !same
	}
}

// outdated is the outcome of a parked line that another one outdates.
func (c *consumer) outdated(p *push) sample.Outcome {
	out := c.outcomeOf(p)
	out.Outcome, out.Reason, out.Tries = sample.Skipped, sample.ReasonChanged, p.tries
	return out
}

// resume takes the sample that was parked first, when nothing else is ready or
// when one has to have its turn.
func (c *consumer) resume(idle bool) *push {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.parked) == 0 || !idle && time.Since(c.resumed) < turnEvery {
		return nil
	}
	p := c.parked[0]
	c.parked[0] = nil
	c.parked = c.parked[1:]
	c.resumed = time.Now()
	return p
}
