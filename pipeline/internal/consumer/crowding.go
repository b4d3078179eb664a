// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/watch"
)

// So many pushes whose files other programs hold may wait: of one user in a tree, and in
// a tree. Further ones are given back to settle at once: there they hold no line back.
const (
	heldOfOwner = 256
	heldOfTree  = 4096
)

// saidFor is how long crowding must be over before that is logged.
const saidFor = time.Minute

// crowding counts the pushes whose files other programs hold.
type crowding struct {
	mu     sync.Mutex // guards the fields below
	of     map[*push]holding
	trees  map[string]int
	owners map[holding]int
	given  int64     // how many were given back because of the crowd
	last   time.Time // when that was last
	said   bool
}

// holding is a tree, and the user whose file is held.
type holding struct {
	tree  string
	owner uint32
}

func newCrowding() *crowding {
	return &crowding{of: map[*push]holding{}, trees: map[string]int{}, owners: map[holding]int{}}
}

// admit counts p, and reports whether it may wait. A push that was admitted stays so.
func (c *crowding) admit(p *push) bool {
	c.mu.Lock()
	_, is := c.of[p]
	c.mu.Unlock()
	if is {
		return true
	}
	h := holding{tree: p.file.tree.Path}
	if st, err := watch.Lstat(p.sample.Path); err == nil {
		h.owner = st.Owner
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trees[h.tree] >= heldOfTree || c.owners[h] >= heldOfOwner {
		return false
	}
	c.of[p] = h
	c.trees[h.tree]++
	c.owners[h]++
	return true
}

// leave forgets p: its file is not held any more, or it has its outcome.
func (c *crowding) leave(p *push) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, is := c.of[p]
	if !is {
		return
	}
	delete(c.of, p)
	if c.trees[h.tree]--; c.trees[h.tree] == 0 {
		delete(c.trees, h.tree)
	}
	if c.owners[h]--; c.owners[h] == 0 {
		delete(c.owners, h)
	}
}

// gave notes that a push is given back because of the crowd, and reports whether that
// begins now.
func (c *crowding) gave() (begins bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.given++
	c.last = time.Now()
	begins = !c.said
	c.said = true
	return begins
}

// over reports whether a crowd that was said is over since its last call.
func (c *crowding) over(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.said || now.Sub(c.last) < saidFor {
		return false
	}
	c.said = false
	return true
}

// state returns how many pushes wait for a holder of their file, and how many were given
// back because too many did. crowded reports whether that goes on.
func (c *crowding) state() (held, given int64, crowded bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(len(c.of)), c.given, c.said
}
