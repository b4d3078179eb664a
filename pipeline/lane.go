// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"container/list"
	"context"
	"time"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// lane is one consumer's reading of one lane of the journal. Its cursor is the
// oldest line that was handed out and is not finished, however far the workers
// are ahead of it.
//
// Guarded by the consumer's mu: open, read, waiting, left, front, since, told.
type lane struct {
	name  string
	file  string // of the cursor
	r     *journal.Reader
	scout *journal.Reader // counts lines that wait, without handing them out
	queue chan *push

	open    *list.List // of *push, in the lane's order
	read    journal.Pos
	waiting int64
	left    ledger.Finished // ahead of the cursor before this start
	from    ledger.Mark     // where the ledger tells of those
	front   *push           // the oldest open line
	since   time.Time       // when it became that
	told    bool            // its holding the cursor back was said
	saved   journal.Pos
	lost    bool // no cursor file could be read
}

// cursor returns the place before which all is finished.
func (l *lane) cursor() journal.Pos {
	if e := l.open.Front(); e != nil {
		return e.Value.(*push).at.Pos
	}
	return l.read
}

// oldest returns the ledger place that a read-back must begin at for this lane;
// ok is false when nothing ahead of the cursor is finished or open.
func (l *lane) oldest() (m ledger.Mark, ok bool) {
	// Not only until those are read: the next start needs them again.
	if l.cursor().Before(l.left.Until) {
		return l.from, true
	}
	if e := l.open.Front(); e != nil {
		return e.Value.(*push).mark, true
	}
	return ledger.Mark{}, false
}

// follow hands out the lane's lines until ctx ends. Its queue is bounded: while
// it is full the journal holds the rest.
func (c *consumer) follow(ctx context.Context, l *lane) error {
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	failing := false
	for {
		changed := l.r.Changed()
		c.skim(l)
		line, ok, err := l.r.Next()
		if from, to, gap := l.r.Missed(); gap {
			c.log.Error("journal lines are missing; their files are journaled again by a sweep: let certpush alone delete segments, and look at the disk", "lane", l.name, "from", from.String(), "to", to.String())
			if !c.tellDamage(ctx, sample.Damage{At: sample.At{Lane: l.name, Pos: from}, After: to}) {
				return nil
			}
		}
		if err != nil {
			if !failing {
				c.log.Error("journal cannot be read; it is tried again each second: look at the folder and the disk", "lane", l.name, "error", err)
			}
			failing = true
			c.heed(readsJournal, err)
			retry.Reset(time.Second)
			changed = nil
		} else if failing {
			failing = false
			c.heed(readsJournal, nil)
			c.log.Info("journal can be read again", "lane", l.name)
		}
		if err == nil && ok {
			if !c.handOut(ctx, l, line) {
				return nil
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry.C:
		}
	}
}

// skim counts the lines that came since the last time.
func (c *consumer) skim(l *lane) {
	n := int64(0)
	for {
		line, ok, err := l.scout.Next()
		if err != nil || !ok {
			break
		}
		_ = line
		n++
	}
	c.mu.Lock()
	l.waiting += n
	c.mu.Unlock()
}

// handOut queues a line; false means that ctx ended.
func (c *consumer) handOut(ctx context.Context, l *lane, line journal.Line) bool {
	s, err := sample.ParseLine(line.Text)
	if line.Long || err != nil {
		return c.unreadable(ctx, l, line, err)
	}
	c.mu.Lock()
	if end := c.led.End(); end != (ledger.Mark{}) { // else the one before will do
		c.handed = end
	}
	if l.left.Take(line) || sample.Passes(s, c.c.Name) {
		l.waiting--
		l.read = line.After
		c.mu.Unlock()
		return true
	}
	p := &push{sample: s, at: sample.At{Lane: l.name, Pos: line.At}, lane: l, mark: c.handed}
	e := l.open.PushBack(p)
	l.read = line.After
	c.opened[p] = e
	c.mu.Unlock()
	for {
		changed := l.r.Changed()
		select {
		case l.queue <- p:
			return true
		case <-changed:
			c.skim(l)
		case <-ctx.Done():
			return false
		}
	}
}

// unreadable passes over a line that cannot be read; false means that ctx ended
// before that could be told.
func (c *consumer) unreadable(ctx context.Context, l *lane, line journal.Line, err error) bool {
	c.log.Error("unreadable journal line passed over; its file is journaled again by a sweep: look at the disk", "lane", l.name, "segment", line.At.Segment, "offset", line.At.Offset, "error", err)
	c.m.badLines.WithLabelValues(l.name).Inc()
	if !c.tellDamage(ctx, sample.Damage{At: sample.At{Lane: l.name, Pos: line.At}, After: line.After}) {
		return false
	}
	c.mu.Lock()
	l.waiting--
	l.read = line.After
	c.mu.Unlock()
	return true
}

// tellDamage leaves word for the producer, which may be another process, and
// tries until it succeeds or ctx ends: then it returns false, and the cursor
// stays before the damage.
func (c *consumer) tellDamage(ctx context.Context, d sample.Damage) bool {
	for {
		err := store.SaveDamage(c.cursors, d)
		if err == nil {
			return true
		}
		c.log.Error("damage of the journal cannot be told to the producer; reading waits: make room or mend the disk", "at", d.At.String(), "error", err)
		t := time.NewTimer(time.Second)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		}
	}
}
