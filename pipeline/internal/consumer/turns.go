// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/journal"
)

// maxWaiting bounds memory if a scanner refuses everything: while this many pushes wait
// for another try or are parked, no new line is taken.
const maxWaiting = 50000

// turns decides which push is next: a fresh line, one that is tried again (a retry), or
// one whose hash gave way (parked).
type turns struct {
	live, backlog <-chan *push  // fresh lines
	begun         func(*push)   // told of each that is taken
	turn          int           // counts the calls of the dispatcher, which alone has it
	picks         atomic.Uint64 // counts the fresh lines that were asked for
	woken         chan struct{} // a token: a push came back

	mu      sync.Mutex // guards the fields below
	retries retryHeap
	shelves [2]*shares // fresh lines of live and backlog that were taken from the channels
	parked  []*push
	resumed time.Time // when a parked push had its turn last
}

func newTurns(in intake, trees []config.Tree) *turns {
	return &turns{begun: in.begun, live: in.fresh(journal.Live), backlog: in.fresh(journal.Backlog), woken: make(chan struct{}, 1), shelves: [2]*shares{newShares(trees), newShares(trees)}}
}

// next waits for the next push and returns it, or nil if ctx ended. Live lines go before
// the backlog, but one in eight is from the backlog. If fresh lines are ready, a retry
// gets every second turn at most, so that bad samples never stop good ones.
func (t *turns) next(ctx context.Context) *push {
	for {
		t.turn++
		if p := t.resume(false); p != nil {
			return p
		}
		due, wait := t.due(time.Now())
		if due != nil && t.turn%2 == 0 {
			return due
		}
		if p := t.fresh(); p != nil {
			if due != nil {
				t.later(due, due.trial.due)
			}
			return p
		}
		if due != nil {
			return due
		}
		if p := t.resume(true); p != nil {
			return p
		}
		if p, ended := t.wait(ctx, wait); p != nil || ended {
			return p
		}
	}
}

// wait waits until a fresh line comes, a push comes back, or due has passed. It returns
// the fresh line, if any. ended is true if ctx ended.
func (t *turns) wait(ctx context.Context, due time.Duration) (p *push, ended bool) {
	timer := time.NewTimer(due)
	defer timer.Stop()
	live, backlog := t.live, t.backlog
	if t.crowded() {
		live, backlog = nil, nil
	}
	select {
	case p = <-live:
	case p = <-backlog:
	case <-t.woken:
	case <-timer.C:
	case <-ctx.Done():
		return nil, true
	}
	if p != nil {
		t.begun(p)
	}
	return p, false
}

// fresh returns the next line that was not tried yet, or nil if none is ready or the
// turns are crowded.
func (t *turns) fresh() *push {
	if t.crowded() {
		return nil
	}
	p := t.pick()
	if p != nil {
		t.begun(p)
	}
	return p
}

// pick takes out the fresh line whose turn it is.
func (t *turns) pick() *push {
	first, second := 0, 1
	if t.picks.Add(1)%8 == 0 {
		first, second = second, first
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shelve(t.shelves[0], t.live)
	t.shelve(t.shelves[1], t.backlog)
	if p := t.shelves[first].take(); p != nil {
		return p
	}
	return t.shelves[second].take()
}

// shelve takes the pushes that are ready from a channel. The caller holds mu.
func (t *turns) shelve(s *shares, from <-chan *push) {
	for !s.full() {
		select {
		case p := <-from:
			s.put(p)
		default:
			return
		}
	}
}

// crowded reports whether maxWaiting is reached, so that no new line is taken.
func (t *turns) crowded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.full()
}

// full is crowded for a caller that holds mu.
func (t *turns) full() bool { return len(t.retries)+len(t.parked) >= maxWaiting }

// due takes out the retry that is due, or returns nil and how long it is until one is.
func (t *turns) due(now time.Time) (*push, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.retries) == 0 {
		return nil, time.Hour
	}
	// If so many wait that no new line is taken, they are tried at once: good samples
	// wait behind them.
	if wait := t.retries[0].trial.due.Sub(now); wait > 0 && !t.full() {
		return nil, wait
	}
	return heap.Pop(&t.retries).(*push), 0
}

// later puts p among the retries; it is due at the time at, and holds no worker until
// then. The caller must not touch p after that.
func (t *turns) later(p *push, at time.Time) {
	t.mu.Lock()
	p.trial.due = at
	heap.Push(&t.retries, p)
	t.mu.Unlock()
	t.wake()
}

// wake makes next look again.
func (t *turns) wake() { signal(t.woken) }

// ready reports whether a fresh line or a retry that is due waits.
func (t *turns) ready() bool {
	if len(t.live)+len(t.backlog) > 0 {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shelves[0].n+t.shelves[1].n > 0 {
		return true
	}
	return len(t.retries) > 0 && !t.retries[0].trial.due.After(time.Now())
}

// retryHeap is a heap of retries; the one that is due first is on top.
type retryHeap []*push

func (h retryHeap) Len() int           { return len(h) }
func (h retryHeap) Less(i, j int) bool { return h[i].trial.due.Before(h[j].trial.due) }
func (h retryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *retryHeap) Push(x any)        { *h = append(*h, x.(*push)) }
func (h *retryHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return p
}
