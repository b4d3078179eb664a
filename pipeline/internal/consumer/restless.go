// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"sync"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

const (
	restlessAfter = 3    // changes of one version, each while it was pushed
	restlessMost  = 4096 // versions that are remembered
)

// restless knows which samples changed again and again while they were pushed although
// their size and mtime stay: somebody sets their rights all the time, or their file
// system has no ctime that lasts. Such a sample is pushed as found, for skipping it
// would only bring its next line, and so on without end.
type restless struct {
	mu      sync.Mutex     // guards changes
	changes map[string]int // by version: how often it was skipped as changed
}

// is reports whether s is pushed as found.
func (r *restless) is(s sample.Sample) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !s.Bare() && r.changes[s.ID] >= restlessAfter
}

// note counts the outcomes.
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
