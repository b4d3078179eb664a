// SPDX-License-Identifier: Apache-2.0

package watch

import "time"

// phase is where a candidate is.
type phase uint8

const (
	waiting phase = iota // in the heap, until it is due
	asking               // an asker has it
	calm                 // in the queue to the receiver
	taken                // the receiver has it, and did not call Done yet
)

// candidate is one path that settles. settler.mu guards its fields, except path and
// tree, which never change.
type candidate struct {
	path  string
	tree  *tree
	phase phase
	step  uint8 // how many questions found a writer since the last event
	back  uint8 // how often the receiver sent it back without an event in between
	dirty bool  // an event came while it was in phase asking or calm
	over  bool  // SettleLimit was reached, and its version was sent
	open  bool  // a program has it open, as the last event that tells said, and its close will be told
	via   bool  // the version in the queue is sent because of SettleLimit
	place int   // its index in the heap

	began time.Duration // when it became a candidate
	event time.Duration // when its last event came
	busy  time.Duration // when a question found a writer last
	due   time.Duration // when the next question is due
	at    time.Time     // when it settled
	stat  Stat          // the settled version
	quiet *quiet        // nil if the system can tell whether it has a writer
}

// renew makes c the candidate of a new version.
func (c *candidate) renew(now time.Duration) {
	c.began, c.step, c.over, c.quiet = now, 0, false, nil
}

// loud returns how long c must be left alone until it has had its tree's Quiet, or 0.
func (c *candidate) loud(now time.Duration) time.Duration {
	return max(max(c.event, c.busy)+c.tree.Quiet-now, 0)
}

// quiet is the state of a file that settles by time: it has had this version, without an
// event, since that time.
type quiet struct {
	stat  Stat
	since time.Duration
}

// schedule is a heap of candidates; the one that is due next is on top.
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
