// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"slices"
	"sync"

	"github.com/certpush/certpush/pipeline/journal"
)

const (
	largeOver   = 1 << 20 // bytes: a larger sample has a session of its own
	largeAtOnce = 8       // so many of those sessions at a time, and half of the places
	asideMost   = 256     // so many large samples are set aside while small ones go on
)

// large reports whether a push has a session of its own.
func large(p *push) bool { return p.sample.Size > largeOver }

// bulk lets a few large samples be with the scanner at a time, each in a session of its own.
// Further ones are set aside, so that small samples behind them go on. The session that ends
// takes the next of them.
type bulk struct {
	mu      sync.Mutex // guards the fields below
	running int
	aside   []*push       // live lines first; each in the order in which it came
	fewer   chan struct{} // closed and replaced when one is taken from aside
}

func newBulk() *bulk { return &bulk{fewer: make(chan struct{})} }

// begin reports whether p may begin now, where the scanner has so many places. Otherwise it
// is set aside. While very many are, it waits until ctx ends. With one place nothing is set
// aside: who asks has that place, and none would be left for what was.
func (b *bulk) begin(ctx context.Context, places int, p *push) bool {
	for {
		b.mu.Lock()
		switch {
		case places == 1 || b.running < min(largeAtOnce, places/2):
			b.running++
			b.mu.Unlock()
			return true
		case len(b.aside) < asideMost || ctx.Err() != nil:
			at := len(b.aside)
			if p.at.Lane == journal.Live {
				if i := slices.IndexFunc(b.aside, func(q *push) bool { return q.at.Lane != journal.Live }); i >= 0 {
					at = i
				}
			}
			b.aside = slices.Insert(b.aside, at, p)
			b.mu.Unlock()
			return false
		}
		fewer := b.fewer
		b.mu.Unlock()
		select {
		case <-fewer:
		case <-ctx.Done():
		}
	}
}

// next returns a push that was set aside, in place of one that has ended, or nil.
func (b *bulk) next() *push {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.aside) == 0 {
		b.running--
		return nil
	}
	p := b.aside[0]
	b.aside = slices.Delete(b.aside, 0, 1)
	close(b.fewer)
	b.fewer = make(chan struct{})
	return p
}
