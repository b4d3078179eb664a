// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"slices"
	"time"
)

// A file of terabytes takes hours to hash. It is hashed in turns: it gives its worker
// back when other pushes wait for one. It goes on from there when no other push is ready,
// or when its turn comes.
const (
	turnFor   = 500 * time.Millisecond // a hash is not interrupted before this time
	turnEvery = 5 * time.Second        // this often one parked push goes on, even if others wait
)

// parkedAt reports whether a line of this path is parked.
func (t *turns) parkedAt(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.parked, func(q *push) bool { return q.sample.Path == path })
}

// park puts p aside; it holds no worker there. If a line of the same path is parked
// already, p replaces it, and park returns the old one. Otherwise a large file whose
// owner touches it now and then would have many parked lines, and each would be hashed.
func (t *turns) park(p *push) (old *push) {
	t.mu.Lock()
	if len(t.parked) == 0 {
		t.resumed = time.Now()
	}
	i := slices.IndexFunc(t.parked, func(q *push) bool { return q.sample.Path == p.sample.Path && !q.sample.Bare() })
	if i < 0 {
		t.parked = append(t.parked, p)
	} else {
		old, t.parked[i] = t.parked[i], p
		p.file.goOnFrom(&old.file, p.borne())
	}
	t.mu.Unlock()
	t.wake()
	return old
}

// resume takes out the push that was parked first, if nothing else is ready (idle) or if
// turnEvery has passed since the last turn. Otherwise it returns nil.
func (t *turns) resume(idle bool) *push {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.parked) == 0 || !idle && time.Since(t.resumed) < turnEvery {
		return nil
	}
	p := t.parked[0]
	t.parked[0] = nil
	t.parked = t.parked[1:]
	t.resumed = time.Now()
	return p
}
