// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"github.com/certpush/certpush/pipeline/internal/sample"
)

const (
	restlessAfter = 3    // changes of one version, each while it was pushed
	restlessMost  = 4096 // versions that are remembered
)

// restless reports whether s changed again and again while it was pushed although
// its size and its mtime stay: somebody sets its rights all the time, or its file
// system has no ctime that lasts. It is pushed as found then, for skipping it would
// only bring its next line, and so on without end.
func (c *consumer) restless(s sample.Sample) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !s.Bare() && c.changes[s.ID] >= restlessAfter
}

// unrest counts for restless. The caller holds mu.
func (c *consumer) unrest(out sample.Outcome) {
	switch {
	case out.ID == "":
	case out.Reason != sample.ReasonChanged:
		delete(c.changes, out.ID)
	case len(c.changes) < restlessMost || c.changes[out.ID] > 0:
		c.changes[out.ID]++
	default:
		clear(c.changes)
	}
}
