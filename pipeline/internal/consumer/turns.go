// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
)

// maxWaiting is how many pushes may wait for another try before no new line is
// taken: memory stays bounded when a scanner refuses everything.
const maxWaiting = 50000

// turns decides which push is next: fresh lines, those that are tried again, and
// those whose hash gave way.
type turns struct {
	live, backlog <-chan *push  // fresh ones
	turn          int           // of the dispatcher: fresh lines and retries
	picks         atomic.Uint64 // of fresh lines
	woken         chan struct{} // a token: one came back

	mu      sync.Mutex // guards the fields below
	retries retryHeap
	parked  []*push
	resumed time.Time // when a parked one had its turn last
}

func newTurns(in intake) *turns {
	return &turns{live: in.fresh(journal.Live), backlog: in.fresh(journal.Backlog), woken: make(chan struct{}, 1)}
}

// next returns the push that is next, or nil when ctx ended: live before backlog,
// but one in eight is the backlog's; a retry that is due every second time at
// most, so that bad samples never stop good ones.
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

// wait waits for a fresh line, for a push that comes back, or for as long as no
// retry is due. ended is true when ctx ended.
func (t *turns) wait(ctx context.Context, due time.Duration) (p *push, ended bool) {
	timer := time.NewTimer(due)
	defer timer.Stop()
	live, backlog := t.live, t.backlog
	if t.crowded() {
		live, backlog = nil, nil
	}
	select {
	case p := <-live:
		return p, false
	case p := <-backlog:
		return p, false
	case <-t.woken:
	case <-timer.C:
	case <-ctx.Done():
		return nil, true
	}
	return nil, false
}

// fresh returns the next line that was not tried yet, nil when there is none.
func (t *turns) fresh() *push {
	if t.crowded() {
		return nil
	}
	first, second := t.live, t.backlog
	if t.picks.Add(1)%8 == 0 {
		first, second = second, first
	}
	select {
	case p := <-first:
		return p
	default:
	}
	select {
	case p := <-first:
		return p
	case p := <-second:
		return p
	default:
		return nil
	}
}

// crowded reports whether so many pushes wait for another try that no new line is
// taken.
func (t *turns) crowded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.full()
}

// full is crowded while mu is held.
func (t *turns) full() bool { return len(t.retries)+len(t.parked) >= maxWaiting }

// due takes the retry that is due, or returns how long it is until one is.
func (t *turns) due(now time.Time) (*push, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.retries) == 0 {
		return nil, time.Hour
	}
	// Where so many wait that no new line is taken they are tried at once: good
	// samples are behind them.
	if wait := t.retries[0].trial.due.Sub(now); wait > 0 && !t.full() {
		return nil, wait
	}
	return heap.Pop(&t.retries).(*push), 0
}

// later puts p among the retries until at; it holds no worker there.
func (t *turns) later(p *push, at time.Time) {
	t.mu.Lock()
	p.trial.due = at
	heap.Push(&t.retries, p)
	t.mu.Unlock()
	t.wake()
}

// wake lets next look again.
func (t *turns) wake() {
	select {
	case t.woken <- struct{}{}:
	default:
	}
}

// ready reports whether something could be pushed now.
func (t *turns) ready() bool {
	if len(t.live)+len(t.backlog) > 0 {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.retries) > 0 && !t.retries[0].trial.due.After(time.Now())
}

// retryHeap orders retries by when they are due.
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
