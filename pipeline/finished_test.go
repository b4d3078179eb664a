// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"testing"

	"github.com/certpush/certpush/pipeline/journal"
)

// TestACursorThatIsHeldBackOverStarts: each of them reads back what is finished
// ahead of it, also what the start before found in the ledger already.
func TestACursorThatIsHeldBackOverStarts(t *testing.T) {
	inMemory(t)
	t.Parallel()
	m := newModel(t, 1)
	for range 5 {
		m.append(journal.Live)
	}
	for start := range 4 {
		c := m.consumers[0]
		for m.read(c, journal.Live) {
		}
		open := c.live.open
		if start > 0 && open.Len() != 1 {
			t.Fatalf("start %d: %d lines are pushed, and one has no outcome", start, open.Len())
		}
		for e := open.Back(); e != open.Front(); e = open.Back() { // all but the oldest
			m.finish(c, e.Value.(*push))
		}
		m.must(c.saveCursors())
		m.crash(m.d.Cut(0))
	}
	m.drain()
}
