// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"time"
)

// A file of terabytes takes hours to hash. It is hashed in turns: it gives its
// worker back when others wait for one, and goes on where it was when none does,
// or once in a while.
const (
	turnFor   = 500 * time.Millisecond // a hash is not interrupted before
	turnEvery = 5 * time.Second        // one of those that gave way goes on, whoever waits
)

// enough returns what interrupts a hash: after its turn, when the stop was asked
// for, others are in the same session, or lines wait and every worker is taken.
func (c *consumer) enough(ctx context.Context, joined bool) func() bool {
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

// park puts p aside; it holds no worker there.
func (c *consumer) park(p *push) {
	c.mu.Lock()
	if len(c.parked) == 0 {
		c.resumed = time.Now()
	}
	c.parked = append(c.parked, p)
	c.mu.Unlock()
	select {
	case c.woken <- struct{}{}:
	default:
	}
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
