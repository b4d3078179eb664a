// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"sync"
	"time"
)

// looks is the queue of a tree's directories that must be looked at, because they came,
// went or were replaced. A path is in it once, with the time of its last event.
type looks struct {
	wake chan struct{}

	// mu guards the fields below. It is not held while a directory is looked at.
	mu      sync.Mutex
	events  map[string]time.Duration // by path: when its last event was read
	order   []string                 // the paths, oldest first
	looking bool                     // a path was taken out and is not done
}

func newLooks() *looks {
	return &looks{wake: make(chan struct{}, 1), events: map[string]time.Duration{}}
}

// ask puts path into the queue. It never waits. It returns false if the queue is full.
func (l *looks) ask(path string, at time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.events[path]; !there {
		if len(l.events) >= most {
			return false
		}
		l.order = append(l.order, path)
	}
	l.events[path] = at
	nudge(l.wake)
	return true
}

// run calls look for one path after the other until ctx ends.
func (l *looks) run(ctx context.Context, look func(ctx context.Context, path string, at time.Duration)) {
	for ctx.Err() == nil {
		path, at, some := l.next()
		if !some {
			select {
			case <-l.wake:
			case <-ctx.Done():
			}
			continue
		}
		look(ctx, path, at)
		l.done()
	}
}

// next takes the oldest path out. some is false if there is none.
func (l *looks) next() (path string, at time.Duration, some bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.order) == 0 {
		l.order = nil
		return "", 0, false
	}
	path = l.order[0]
	l.order = l.order[1:]
	at = l.events[path]
	delete(l.events, path)
	l.looking = true
	return path, at, true
}

func (l *looks) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looking = false
}
