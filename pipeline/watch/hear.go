// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"time"

	"github.com/fsnotify/fsnotify"
)

// news is what an event says of the programs that have the file open.
type news uint8

const (
	nothing  news = iota
	isOpen        // one has it open for writing, and an event will tell of its close
	isClosed      // one closed it that had it open for writing
)

// newsOf returns what an event of op says.
func newsOf(op fsnotify.Op) news {
	switch {
	case op.Has(closed):
		return isClosed
	case op.Has(opened):
		return isOpen
	}
	return nothing
}

const (
	// untilClosed is how long after its last event a file of which we know that a program
	// has it open is not asked for its writers: it may be closed and opened again in that
	// time, and who opens it while the question holds its lease has to wait.
	untilClosed = 20 * time.Millisecond
	// firstGlance is when such a file is looked at first: what was made without an open, as
	// a hard link is, looks the same until then. It is over a millisecond, for below that
	// the goroutine that waits for due candidates naps and hears no close.
	firstGlance = 2 * time.Millisecond
)

// held reports whether a program has c open, as far as events say. The caller holds the
// settler's mu.
func (c *candidate) held(now time.Duration) bool { return c.open && now-c.event < untilClosed }

// touch notes an event for path that says nothing of who has it open.
func (s *settler) touch(t *tree, path string) bool { return s.hear(t, path, nothing) }

// hear notes an event for path: it makes path a candidate, or lets the one that is there
// settle again. It returns false if there are too many candidates.
func (s *settler) hear(t *tree, path string, n news) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	c := s.all[path]
	if c == nil {
		if len(s.all) >= s.most {
			return false
		}
		c = &candidate{path: path, tree: t, began: now, event: now, open: n == isOpen}
		s.all[path] = c
		s.of[t]++
		s.plan(c, c.begin(now))
		return true
	}
	c.event = now
	ends := n == isClosed && c.open
	c.open = n == isOpen || n == nothing && c.open
	switch c.phase {
	case asking, calm:
		c.dirty = true
	case taken:
		c.renew(now)
		s.plan(c, c.begin(now))
		c.back = 0
	case waiting:
		c.step = 0
		switch next := now + s.pause(c, now); {
		case c.quiet != nil:
			c.quiet.since = now
			s.plan(c, now+t.Settle)
		case ends:
			s.plan(c, now)
		case next < c.due:
			s.plan(c, next)
		}
	}
	return true
}

// begin returns when c is looked at first, if it begins now.
func (c *candidate) begin(now time.Duration) time.Duration {
	if c.open {
		return now + firstGlance
	}
	return now
}
