// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

const (
	forgetFor = 5 * time.Second  // the index may take that long to forget
	shortFor  = 5 * time.Second  // a sample waits no longer for descriptors or memory to be there
	heldFor   = 15 * time.Minute // all tries of a sample that fail take less
)

// wasRead notes that p was read to its end.
func (c *consumer) wasRead(p *push) {
	c.mu.Lock()
	c.reads[p.tree.Path]++
	short := c.refused[opensSamples] != nil
	c.mu.Unlock()
	if short {
		c.heed(opensSamples, nil)
		c.log.Info("samples can be opened again")
	}
}

// treeReads reports whether another sample of p's tree was read since p was not: a
// tree that cannot be read for a while, as one on a network, makes no dead letters.
// Where so many wait that good ones are behind them they count all the same.
func (c *consumer) treeReads(p *push) bool {
	if p.own || c.crowded() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads[p.tree.Path] > p.judged
}

// unread takes a sample that could not be opened or read on our side: true means
// that it ends so. Another's hold on it is no failed try, for whoever has it is not
// done, and has as long as one who writes has.
func (c *consumer) unread(ctx context.Context, p *push, out *sample.Outcome) bool {
	if p.reason != sample.ReasonBusy {
		c.notRead(p, p.short)
		return false
	}
	now := time.Now()
	if p.busy.IsZero() {
		p.busy = now
	}
	if now.Sub(p.busy) < p.tree.SettleLimit {
		c.later(p, now.Add(c.pace(p)))
		return false
	}
	return c.giveBack(ctx, p, out)
}

// giveBack ends a sample that another program holds: its path goes back to settle,
// which waits for the holder, and it is journaled again. Where the producer is
// another process nobody could wait for it, and it is a dead letter.
func (c *consumer) giveBack(ctx context.Context, p *push, out *sample.Outcome) bool {
	out.Reason, out.Tries = sample.ReasonBusy, p.tries
	// Nor is a manual line what the index knows the file from.
	if c.forget == nil || p.sample.Via == sample.ViaManual {
		out.Outcome = sample.Dead
		c.log.Error("dead letter: the sample is given up; see `certpush why`, then `certpush dead retry`", "path", p.sample.Path, "at", p.at.String(), "tries", p.tries, "reason", out.Reason)
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, forgetFor)
	defer cancel()
	if err := c.forget(ctx, p.sample.Path, p.at); err != nil {
		c.log.Debug("a sample that is held waits on, for the index cannot forget it", "path", p.sample.Path, "error", err)
		c.later(p, time.Now().Add(c.pace(p)))
		return false
	}
	out.Outcome = sample.Skipped
	return true
}

// notRead puts p off. It is a failed try unless the process or the machine is short
// of what any file needs.
func (c *consumer) notRead(p *push, short error) {
	c.m.tries.WithLabelValues(c.c.Name, sample.ReasonUnreadable).Inc()
	wait := c.pace(p)
	c.mu.Lock()
	p.judged = c.reads[p.tree.Path]
	said := c.refused[opensSamples] != nil
	c.mu.Unlock()
	if p.failed = p.local; !p.failed {
		wait = min(wait, shortFor)
		if !said {
			c.heed(opensSamples, short)
			c.log.Error("samples cannot be opened for want of descriptors or memory; they wait, and no try is used up: raise LimitNOFILE, or give the machine memory", "path", p.sample.Path, "error", short)
		}
	}
	c.later(p, time.Now().Add(wait))
}

// watchHeld says when one sample holds a cursor back for long, with it the segments
// from its line on, and when it no longer does.
func (c *consumer) watchHeld(now time.Time) {
	open := c.health.open()
	for _, l := range []*lane{c.live, c.backlog} {
		c.mu.Lock()
		var front *push
		if e := l.open.Front(); e != nil {
			front = e.Value.(*push)
		}
		over := l.told && front != l.front
		if front != l.front || !open && !l.told { // a scanner that is down is said already
			l.front, l.since, l.told = front, now, false
		}
		begins := front != nil && !l.told && now.Sub(l.since) >= heldFor
		reason := ""
		if begins {
			l.told, reason = true, front.held
		}
		c.mu.Unlock()
		if over {
			c.log.Info("the sample that held a cursor back has its outcome", "lane", l.name)
		}
		if begins {
			c.log.Warn("one sample holds a cursor back for long, and with it the journal from its line on: see who has the file, or mend what its reason names", "lane", l.name, "path", front.sample.Path, "at", front.at.String(), "reason", reason)
		}
	}
}
