// SPDX-License-Identifier: Apache-2.0

package watch

import "time"

// phase is where a candidate stands.
type phase uint8

const (
	waiting phase = iota // in the heap, until it is due
	asking               // an asker has it
	calm                 // in the queue to the receiver
	taken                // handed over, not yet Done
)

// candidate is one path that settles.
type candidate struct {
	path  string
	tree  *tree
	phase phase
	step  uint8 // how often a writer was found since the last event
	back  uint8 // how often its receiver handed it back without an event between
	dirty bool  // an event came while it was asked about or lay in the queue
	over  bool  // SettleLimit was reached and told
	via   bool  // the queued version is told because of SettleLimit
	place int   // in the heap

	began time.Duration // when it became a candidate
	event time.Duration // last event
	due   time.Duration // next question
	at    time.Time     // when it settled
	stat  Stat          // of the settled version
	quiet *quiet        // nil where the system can be asked
}

// renew makes c a new version's candidate.
func (c *candidate) renew(now time.Duration) {
	c.began, c.step, c.over, c.quiet = now, 0, false, nil
}

// quiet is the state of a file for which only silence tells.
type quiet struct {
	stat  Stat
	since time.Duration
}

// schedule is a heap of candidates, the next due on top.
type schedule []*candidate

func (h schedule) Len() int           { return len(h) }
func (h schedule) Less(i, j int) bool { return h[i].due < h[j].due }
func (h schedule) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *schedule) Push(x any) {
	c := x.(*candidate)
	c.place = len(*h)
	*h = append(*h, c)
}

func (h *schedule) Pop() any {
	old := *h
	c := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return c
}
