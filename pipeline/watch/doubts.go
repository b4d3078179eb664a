// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"sync"
)

// doubts is a queue of scopes, each in it once.
type doubts struct {
	out  chan Doubt
	wake chan struct{}

	mu      sync.Mutex
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

// next takes the oldest doubt out of the queue. From here on a further one for
// the same scope counts: its cause may come after the sweep has begun.
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

// nudge wakes whoever waits on c, or leaves the wake-up lying there for him.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
