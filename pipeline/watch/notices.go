// SPDX-License-Identifier: Apache-2.0

package watch

import "sync"

// notices is what the log was told of a tree. A condition is told when it begins and
// when it ends, not while it lasts.
//
// The goroutine that reads events must not wait for a log, so it leaves its warnings
// here, and the one that tends the tree logs them.
type notices struct {
	// mu guards what follows. Nothing is logged while it is held.
	mu   sync.Mutex
	left []func() // warnings, in the order in which they were left

	missing, unwatched, lost, full, crowded bool // was told, and has not ended
}

// begins sets a flag and reports whether it was not set before.
func (n *notices) begins(said *bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := *said
	*said = true
	return !was
}

// ends clears a flag and reports whether it was set before.
func (n *notices) ends(said *bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := *said
	*said = false
	return was
}

// leave keeps a warning for speak.
func (n *notices) leave(warn func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.left = append(n.left, warn)
}

// speak logs what was left.
func (n *notices) speak() {
	n.mu.Lock()
	left := n.left
	n.left = nil
	n.mu.Unlock()
	for _, warn := range left {
		warn()
	}
}
