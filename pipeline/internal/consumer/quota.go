// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
)

// quota is how often a sample may be handed to a scanner. Who may hand one over takes a
// token before the sample is opened, and gives it back if the sample has its outcome
// without the scanner. Samples take more or less time to be read, so tokens that were taken
// apart could be used together: each waits for its turn once more when it is handed over.
type quota struct {
	every time.Duration // there is one token in that time; 0: there are always some
	given chan struct{} // a token: one was given back

	mu     sync.Mutex // guards the fields below
	next   time.Time  // when the next one is there; tokens that nobody took are not saved up
	handed time.Time  // when a sample is or was handed over last
}

func newQuota(r config.Rate) *quota {
	q := &quota{given: make(chan struct{}, 1)}
	if r.N > 0 {
		q.every = r.Per / time.Duration(r.N)
	}
	return q
}

// take takes a token, or returns how long it is until there is one.
func (q *quota) take(now time.Time) time.Duration {
	if q.every == 0 {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if left := q.next.Sub(now); left > 0 {
		return left
	}
	q.next = now.Add(q.every)
	return 0
}

// give gives a token back.
func (q *quota) give() {
	if q.every == 0 {
		return
	}
	q.mu.Lock()
	q.next = q.next.Add(-q.every)
	q.mu.Unlock()
	signal(q.given)
}

// turn waits until a sample may be handed over now. Its error is ctx's.
func (q *quota) turn(ctx context.Context) error {
	if q.every == 0 {
		return nil
	}
	q.mu.Lock()
	at := q.handed.Add(q.every)
	if now := time.Now(); at.Before(now) {
		at = now
	}
	q.handed = at
	q.mu.Unlock()
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait waits for a token and takes it. Its error is ctx's.
func (q *quota) wait(ctx context.Context) error {
	for {
		left := q.take(time.Now())
		if left <= 0 {
			return ctx.Err()
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-q.given:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
