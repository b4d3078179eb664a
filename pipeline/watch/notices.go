// SPDX-License-Identifier: Apache-2.0

package watch

import "sync"

// notices remembers which conditions of a tree were logged. A condition is logged when it
// begins and when it ends, not while it lasts.
//
// The goroutine that reads events must not wait for a log. So it leaves its warnings
// here, and the tender logs them.
type notices struct {
	// mu guards the fields below. Nothing is logged while it is held.
	mu    sync.Mutex
	left  []func()        // functions that log a warning, oldest first
	named map[string]bool // directories that were named, namedMost at most

	missing, unwatched, lost, full, crowded, elsewhere bool // it was logged, and has not ended
}

// begins sets a flag, and reports whether it was clear before.
func (n *notices) begins(said *bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := *said
	*said = true
	return !was
}

// ends clears a flag, and reports whether it was set before.
func (n *notices) ends(said *bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := *said
	*said = false
	return was
}

// leave keeps a warning until speak logs it.
func (n *notices) leave(warn func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.left = append(n.left, warn)
}

// speak logs the warnings that were left.
func (n *notices) speak() {
	n.mu.Lock()
	left := n.left
	n.left = nil
	n.mu.Unlock()
	for _, warn := range left {
		warn()
	}
}

// names notes that a directory is named in the log, and reports whether it may be: it was
// not before, and few were.
func (n *notices) names(path string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.named[path] || len(n.named) >= namedMost {
		return false
	}
	if n.named == nil {
		n.named = map[string]bool{}
	}
	n.named[path] = true
	return true
}

// unname lets all directories be named again.
func (n *notices) unname() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.named = nil
}
