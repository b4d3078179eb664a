// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"sync"
)

// doubts is a queue of doubts. Each scope is in it at most once.
type doubts struct {
	out  chan Doubt
	wake chan struct{}

	mu      sync.Mutex // guards the fields below
	queue   []Doubt
	pending map[scope]bool
}

type scope struct {
	tree  int
	under string
}

func newDoubts() *doubts {
	return &doubts{out: make(chan Doubt), wake: make(chan struct{}, 1), pending: map[scope]bool{}}
}

// raise puts n into the queue, unless a doubt of the same scope is there. It does not
// wait.
func (d *doubts) raise(n Doubt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := scope{n.Tree, n.Under}
	if d.pending[s] {
		return
	}
	d.pending[s] = true
	d.queue = append(d.queue, n)
	nudge(d.wake)
}

// run sends the doubts on out, the oldest first, until ctx ends.
func (d *doubts) run(ctx context.Context) {
	for {
		n, ok := d.next()
		if !ok {
			select {
			case <-d.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case d.out <- n:
		case <-ctx.Done():
			return
		}
	}
}

// next takes the oldest doubt out of the queue. A doubt for the same scope that is raised
// after that is queued again, because its cause may come after the sweep has begun.
func (d *doubts) next() (Doubt, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		d.queue = nil
		return Doubt{}, false
	}
	n := d.queue[0]
	d.queue = d.queue[1:]
	delete(d.pending, scope{n.Tree, n.Under})
	return n, true
}

// nudge wakes the goroutine that waits on c, which has room for one token. If none waits,
// the token stays for the next one that does.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
