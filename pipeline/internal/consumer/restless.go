// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"sync"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

const (
	restlessAfter = 3    // after this many pushes that ended as changed, a version is pushed as found
	restlessMost  = 4096 // at most this many versions are remembered
)

// restless remembers samples that changed each time while they were pushed, although
// their size and mtime stay the same: a program sets their rights all the time, or their
// file system gives them a new ctime each time. Such a sample is pushed as found. If it
// were skipped it would be journaled again and skipped again, without end.
type restless struct {
	mu      sync.Mutex     // guards changes
	changes map[string]int // by id of the version: how often it was skipped as changed
}

// is reports whether s is pushed as found.
func (r *restless) is(s sample.Sample) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !s.Bare() && r.changes[s.ID] >= restlessAfter
}

// note counts the outcomes that are changed, and forgets versions that ended otherwise.
// If too many versions are remembered it forgets all.
func (r *restless) note(all []ended) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range all {
		switch id := e.out.ID; {
		case id == "":
		case e.out.Reason != sample.ReasonChanged:
			delete(r.changes, id)
		case len(r.changes) < restlessMost || r.changes[id] > 0:
			r.changes[id]++
		default:
			clear(r.changes)
		}
	}
}
