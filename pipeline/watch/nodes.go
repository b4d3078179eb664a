// SPDX-License-Identifier: Apache-2.0

package watch

// ref names one node of a set of folders. 0 is none.
type ref uint32

// index finds nodes by a key that they hold themselves. It is a hash table of their
// numbers alone, 4 to 11 bytes for each node: a Go map would hold the keys once more. Its
// owner guards it.
type index struct {
	slots []ref // their number is a power of two; 0 is a free one
	used  int
	hash  func(ref) uint64 // of the key of a node that is in the index
}

// find returns the node with this hash for which is returns true, or 0.
func (x *index) find(hash uint64, is func(ref) bool) ref {
	if len(x.slots) == 0 {
		return 0
	}
	for at := x.at(hash); x.slots[at] != 0; at = x.at(uint64(at) + 1) {
		if is(x.slots[at]) {
			return x.slots[at]
		}
	}
	return 0
}

func (x *index) at(hash uint64) int { return int(hash & uint64(len(x.slots)-1)) }

// put adds a node that is not in the index.
func (x *index) put(r ref) {
	if x.used >= len(x.slots)/4*3 {
		old := x.slots
		x.slots = make([]ref, max(8, 2*len(old)))
		for _, r := range old {
			if r != 0 {
				x.lay(r)
			}
		}
	}
	x.lay(r)
	x.used++
}

func (x *index) lay(r ref) {
	at := x.at(x.hash(r))
	for x.slots[at] != 0 {
		at = x.at(uint64(at) + 1)
	}
	x.slots[at] = r
}

// remove takes a node out, if it is there. Its key must still be the one with which it
// was put. The nodes behind it move up, so that no gap hides them from find.
func (x *index) remove(r ref) {
	if len(x.slots) == 0 {
		return
	}
	gap := x.at(x.hash(r))
	for x.slots[gap] != r {
		if x.slots[gap] == 0 {
			return
		}
		gap = x.at(uint64(gap) + 1)
	}
	x.used--
	mask := len(x.slots) - 1
	for at := (gap + 1) & mask; x.slots[at] != 0; at = (at + 1) & mask {
		home := x.at(x.hash(x.slots[at]))
		if (at-home)&mask >= (at-gap)&mask { // its search begins at or before the gap
			x.slots[gap], gap = x.slots[at], at
		}
	}
	x.slots[gap] = 0
}

// arena holds the nodes of a set of folders. It grows by chunks, so that nothing is
// copied, and a node keeps its place.
type arena struct {
	chunks [][]node
	next   ref   // the first one that was never used
	free   []ref // used before, and free again
}

const chunkOf = 1 << 10

func (a *arena) of(r ref) *node { return &a.chunks[r/chunkOf][r%chunkOf] }

func (a *arena) take() ref {
	if n := len(a.free); n > 0 {
		r := a.free[n-1]
		a.free = a.free[:n-1]
		return r
	}
	if a.next == 0 {
		a.next = 1
	}
	r := a.next
	a.next++
	if int(r/chunkOf) == len(a.chunks) {
		a.chunks = append(a.chunks, make([]node, chunkOf))
	}
	return r
}

// drop frees r. If none is left, the memory of all is given back.
func (a *arena) drop(r ref) {
	*a.of(r) = node{}
	if a.free = append(a.free, r); len(a.free) == int(a.next)-1 {
		*a = arena{}
	}
}

// all calls each for every node that is in use.
func (a *arena) all(each func(ref)) {
	for r := ref(1); r < a.next; r++ {
		if a.of(r).used {
			each(r)
		}
	}
}
