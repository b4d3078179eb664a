// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// askers is how many goroutines ask for writers at once. If one hangs on a dead disk, the
// others go on.
const askers = 4

// finding is what an asker saw.
type finding uint8

const (
	settled finding = iota // no program has it open for writing
	written                // a program has
	unsure                 // the system cannot tell
	missing                // no file is there any more
	folder                 // a directory
	passed                 // excluded, or neither file nor directory
)

// settler asks for each candidate whether it has settled, and sends it on out when it has.
// hear, touch, again, has and done return at once.
type settler struct {
	// ask looks at a path. same is the version that has been there for Settle, without a
	// change or an event; nil if there is none. held says that a program has it open, by
	// what events say: then the system is not asked.
	ask   func(t *tree, path string, same *Stat, held bool) (finding, Stat)
	found func(t *tree, path string, at time.Duration) // is called for a directory
	nap   func(time.Duration)                          // sleeps for less than a millisecond
	most  int                                          // at most this many candidates
	out   chan Calm

	epoch      time.Time
	wake, some chan struct{}
	asks       chan *candidate

	mu    sync.Mutex // guards the fields below, and those of the candidates
	all   map[string]*candidate
	of    map[*tree]int // how many of all each tree has
	due   schedule      // those in phase waiting
	queue []*candidate  // calm, oldest first
}

func newSettler(w *Watcher) *settler {
	naps := nap
	if w.config.Nap != nil {
		naps = w.config.Nap
	}
	return &settler{
		ask:   w.ask,
		found: func(t *tree, path string, at time.Duration) { t.examine(path, at) },
		nap:   naps,
		most:  most,
		out:   make(chan Calm),
		epoch: time.Now(),
		wake:  make(chan struct{}, 1),
		some:  make(chan struct{}, 1),
		asks:  make(chan *candidate),
		all:   map[string]*candidate{},
		of:    map[*tree]int{},
	}
}

// now returns the time since the settler was made, on the monotonic clock.
func (s *settler) now() time.Duration { return time.Since(s.epoch) }

// has reports whether path is a candidate.
func (s *settler) has(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[path] != nil
}

// count returns how many candidates a tree has.
func (s *settler) count(t *tree) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[t]
}

// drop forgets a candidate. The caller holds mu.
func (s *settler) drop(c *candidate) {
	delete(s.all, c.path)
	s.of[c.tree]--
}

// done forgets path, unless it was touched since the receiver got it.
func (s *settler) done(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.all[path]; c != nil && c.phase == taken {
		s.drop(c)
	}
}

// pause returns how long to wait before the next question about a file that has a writer:
// 0.2, 0.5, 1, 2, 5 ... 250 ms with each question since the last event. But it waits for
// at least a 256th of the time for which the file has been a candidate, up to 250 ms. So
// the end of the writing is seen at most half a percent late, and a hundred busy writers
// cost almost nothing. Where its close will be told it waits for untilClosed at least. If there are thousands of candidates, that longest pause grows with
// their number. The caller holds mu.
func (s *settler) pause(c *candidate, now time.Duration) time.Duration {
	steps := [...]time.Duration{200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 250_000}
	const longest = 250 * time.Millisecond
	p := steps[min(int(c.step), len(steps)-1)] * time.Microsecond
	crowd := time.Duration(max(1, len(s.all)/1000))
	if int(c.step) >= len(steps)-1 {
		p *= crowd
	}
	if c.open {
		p = max(p, untilClosed)
	}
	return min(max(p, (now-c.began)/256), longest*crowd)
}

// plan puts c into the heap, or moves it there. The caller holds mu.
func (s *settler) plan(c *candidate, due time.Duration) {
	if c.phase == waiting && c.place < len(s.due) && s.due[c.place] == c {
		c.due = due
		heap.Fix(&s.due, c.place)
	} else {
		c.phase, c.due = waiting, due
		heap.Push(&s.due, c)
	}
	if c.place == 0 {
		nudge(s.wake)
	}
}

func (s *settler) run(ctx context.Context) {
	var all sync.WaitGroup
	for range askers {
		all.Go(func() { s.askAll(ctx) })
	}
	all.Go(func() { s.deliver(ctx) })
	s.dispatch(ctx)
	all.Wait()
}

// dispatch hands each candidate to an asker when it is due.
func (s *settler) dispatch(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c, wait := s.nextDue()
		if c != nil {
			select {
			case s.asks <- c:
				continue
			case <-ctx.Done():
				return
			}
		}
		if wait < time.Millisecond {
			s.nap(wait)
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (s *settler) nextDue() (*candidate, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.due) == 0 {
		return nil, time.Hour
	}
	c := s.due[0]
	if wait := c.due - s.now(); wait > 0 {
		return nil, wait
	}
	heap.Pop(&s.due)
	c.phase, c.dirty = asking, false
	return c, 0
}

func (s *settler) askAll(ctx context.Context) {
	for {
		select {
		case c := <-s.asks:
			s.judge(c)
		case <-ctx.Done():
			return
		}
	}
}

// judge asks about c, which is in phase asking. Then it queues c, plans the next question
// or forgets c.
func (s *settler) judge(c *candidate) {
	s.mu.Lock()
	same, at, held := s.silent(c), c.event, c.held(s.now())
	s.mu.Unlock()

	what, st := s.ask(c.tree, c.path, same, held)
	if what == unsure && same != nil && st.Same(*same) {
		what = settled
	}
	if what == folder {
		s.found(c.tree, c.path, at)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	late := now-c.began >= c.tree.SettleLimit && !c.over
	switch {
	case (what == settled || what == missing || what == folder || what == passed) && c.dirty:
		c.step = 0
		s.plan(c, now+s.pause(c, now))
	case what == settled && late:
		s.queueUp(c, st, c.loud(now) > 0)
	case what == settled && c.loud(now) > 0:
		s.plan(c, s.inTime(c, now+c.loud(now)))
	case what == settled:
		s.queueUp(c, st, false)
	case what == written && late, what == unsure && late:
		s.queueUp(c, st, true)
	case what == written:
		s.postpone(c, now, same != nil)
	case what == unsure:
		s.listen(c, st, now)
	default:
		s.drop(c)
	}
}

// silent returns the version of c that has been there for Settle without an event, or nil
// if there is none. The caller holds mu.
func (s *settler) silent(c *candidate) *Stat {
	if c.quiet == nil || s.now()-c.quiet.since < c.tree.Settle {
		return nil
	}
	st := c.quiet.stat
	return &st
}

// postpone plans the next question about a file that has a writer. afterQuiet says that
// the question can disturb a writer: then the next one comes after another Settle.
func (s *settler) postpone(c *candidate, now time.Duration, afterQuiet bool) {
	if c.dirty {
		c.step, c.dirty = 0, false
	}
	pause := s.pause(c, now)
	c.busy = now
	if afterQuiet {
		c.quiet.since = now
		pause = c.tree.Settle
	} else {
		c.quiet = nil
		if c.step < 255 {
			c.step++
		}
	}
	s.plan(c, s.inTime(c, now+pause))
}

// listen plans the next question about a file that settles by time: Settle after its last
// change or event.
func (s *settler) listen(c *candidate, st Stat, now time.Duration) {
	switch {
	case c.quiet == nil:
		c.quiet = &quiet{stat: st, since: now}
	case c.dirty || !st.Same(c.quiet.stat):
		c.quiet.stat, c.quiet.since = st, now
	}
	s.plan(c, s.inTime(c, max(c.quiet.since+c.tree.Settle, now)))
}

// inTime returns due, or the time of SettleLimit if that comes before.
func (s *settler) inTime(c *candidate, due time.Duration) time.Duration {
	if limit := c.began + c.tree.SettleLimit; !c.over && limit < due {
		return limit
	}
	return due
}

// queueUp puts c into the queue to the receiver, with version st. limit says that it did
// not settle within SettleLimit. The caller holds mu.
func (s *settler) queueUp(c *candidate, st Stat, limit bool) {
	c.phase, c.stat, c.at, c.via, c.dirty = calm, st, time.Now(), limit, false
	s.queue = append(s.queue, c)
	nudge(s.some)
}

// deliver sends the calm candidates to the receiver, oldest first, until ctx ends.
func (s *settler) deliver(ctx context.Context) {
	for {
		c, ok := s.nextCalm()
		if !ok {
			select {
			case <-s.some:
				continue
			case <-ctx.Done():
				return
			}
		}
		if c == nil {
			continue
		}
		select {
		case s.out <- *c:
		case <-ctx.Done():
			return
		}
	}
}

// nextCalm takes the oldest calm candidate out of the queue. It returns false if there is
// none, and a nil Calm if the candidate must settle again. If an event came since it
// settled, nextCalm asks about it once more, here and not from the end of the queue: so a
// file with events all the time comes out too.
func (s *settler) nextCalm() (*Calm, bool) {
	s.mu.Lock()
	if len(s.queue) == 0 {
		s.queue = nil
		s.mu.Unlock()
		return nil, false
	}
	c := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	if c.dirty && !c.via && c.tree.Quiet > 0 { // it waits for its quiet again, and SettleLimit goes on
		s.plan(c, s.inTime(c, s.now()+c.tree.Quiet))
		s.mu.Unlock()
		return nil, true
	}
	if c.dirty && !c.via {
		c.phase, c.dirty = asking, false
		held := c.held(s.now())
		s.mu.Unlock()
		what, st := s.ask(c.tree, c.path, nil, held)
		s.mu.Lock()
		if what != settled {
			now := s.now()
			c.renew(now)
			s.plan(c, now)
			s.mu.Unlock()
			return nil, true
		}
		c.stat, c.at = st, time.Now()
	}
	defer s.mu.Unlock()
	out := &Calm{Tree: c.tree.at, Path: c.path, Stat: c.stat, Via: "event", At: c.at}
	now := s.now()
	switch {
	case c.via:
		out.Via, c.over = "limit", true
		s.plan(c, now+s.pause(c, now))
	case c.dirty:
		c.renew(now)
		s.plan(c, now+s.pause(c, now))
	default:
		// This must come before it is sent: the receiver may call Done before we go on.
		c.phase = taken
	}
	c.dirty, c.via = false, false
	return out, true
}
