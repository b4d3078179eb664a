// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
)

// mostUnsynced is how many outcomes are written and not durable yet, at most.
const mostUnsynced = 1024

// unsynced holds the outcomes that are written to the ledger and not durable yet.
type unsynced struct {
	every time.Duration // they are durable at the latest so long after they were written; 0: before end returns
	some  chan struct{} // a token: there are some
	much  chan struct{} // a token: it is time before every has passed

	mu      sync.Mutex    // guards the fields below
	waiting []written     // oldest first
	n       int           // how many outcomes are in waiting, or are about to be
	failing bool          // the ledger cannot be synced
	fewer   chan struct{} // closed and replaced when n or failing falls
}

// written is what one call of end wrote.
type written struct {
	all    []ended
	outs   []sample.Outcome
	w      ledger.Written
	untold *list.Element // of telling
}

func newUnsynced(every time.Duration) *unsynced {
	return &unsynced{every: max(every, 0), some: make(chan struct{}, 1), much: make(chan struct{}, 1), fewer: make(chan struct{})}
}

// reserve takes room for n outcomes. While there is none, or the ledger cannot be synced,
// it waits until ctx ends: then nobody else comes.
func (u *unsynced) reserve(ctx context.Context, n int) {
	for {
		u.mu.Lock()
		room := !u.failing && (u.n == 0 || u.n+n <= mostUnsynced)
		if room || ctx.Err() != nil {
			u.n += n
			u.mu.Unlock()
			return
		}
		fewer := u.fewer
		u.mu.Unlock()
		signal(u.much)
		select {
		case <-fewer:
		case <-ctx.Done():
		}
	}
}

// put adds what was written into room that is reserved.
func (u *unsynced) put(w written) {
	u.mu.Lock()
	u.waiting = append(u.waiting, w)
	u.mu.Unlock()
	signal(u.some)
}

// take takes all that waits. The room of it stays taken.
func (u *unsynced) take() (all []written) {
	u.mu.Lock()
	defer u.mu.Unlock()
	all, u.waiting = u.waiting, nil
	return all
}

// free gives back the room of n outcomes.
func (u *unsynced) free(n int) { u.change(func() { u.n -= n }) }

// fails notes whether the ledger can be synced.
func (u *unsynced) fails(is bool) { u.change(func() { u.failing = is }) }

func (u *unsynced) change(by func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	by()
	close(u.fewer)
	u.fewer = make(chan struct{})
}

// signal puts a token into a channel of one, if there is none in it.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
