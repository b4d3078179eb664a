// SPDX-License-Identifier: Apache-2.0

package consumer

import "sync"

// said counts the cleans of an address that were said by one state of its sight and are
// not recorded yet. All methods but finish take nil: an answer that is not clean has none.
type said struct {
	recorded chan struct{} // closed when the sight is another one and no clean is on its way

	mu   sync.Mutex // guards the fields below
	n    int
	over bool // the sight is another one by now
}

func newSaid() *said { return &said{recorded: make(chan struct{})} }

// begin counts a clean that is on its way to the ledger. It returns false, and counts
// nothing, if the sight is another one by now.
func (s *said) begin() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.n++
	}
	return !s.over
}

// end ends what begin began: the clean is recorded, or is not to be.
func (s *said) end() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n--; s.over && s.n == 0 {
		close(s.recorded)
	}
}

// finish notes that the sight is another one from now on.
func (s *said) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over = true; s.n == 0 {
		close(s.recorded)
	}
}
