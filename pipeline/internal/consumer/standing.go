// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"fmt"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// Status is the state of one scanner and its samples. The counts begin at the start of
// the process. Always Journaled = Done + Gone + Skipped + Dead + Waiting. Waiting
// includes the samples in flight.
type Status struct {
	Name          string    `json:"name"`
	Type          string    `json:"type"`
	Up            bool      `json:"up"`
	Paused        bool      `json:"paused"` // by an operator: nothing is sent to it, so Up is what it was before, or false since the start
	Since         time.Time `json:"since"`
	Version       string    `json:"version"`
	Journaled     int64     `json:"journaled"`
	Done          int64     `json:"done"`
	Gone          int64     `json:"gone"`
	Skipped       int64     `json:"skipped"`
	Dead          int64     `json:"dead"`
	Waiting       int64     `json:"waiting"`
	InFlight      int64     `json:"in_flight"`
	Workers       int       `json:"workers"`    // so many may be in flight at once, now
	Held          int64     `json:"held"`       // of Waiting: other programs hold their files, so that they cannot be opened
	GivenBack     int64     `json:"given_back"` // so many were given back to settle, because too many were held
	Crowded       bool      `json:"crowded"`    // that goes on
	OldestWaiting float64   `json:"oldest_waiting_s"`
	DeadLetters   int64     `json:"dead_letters"` // those on the list now; Dead counts since the start

	Blind  bool         `json:"blind"`  // it answers, and no address of it sees
	Why    string       `json:"why"`    // why it is not up; empty while it is
	Sights []scan.Sight `json:"sights"` // of each address; empty if no canary is asked
}

// Status returns the state of the scanner, and how many samples wait for it.
func (k *Consumer) Status() Status {
	h := k.workers.health.state()
	s := Status{
		Name: k.Name(), Type: k.c.Scanner.Type, Up: h.up, Paused: h.paused, Since: h.since, Version: h.version,
		InFlight: k.workers.flying.Load(), Workers: k.workers.pace.places(), Blind: h.blind, Why: h.why, Sights: k.workers.sights.all(),
	}
	s.Held, s.GivenBack, s.Crowded = k.workers.trials.crowd.state()
	k.lines.mu.Lock()
	defer k.lines.mu.Unlock()
	n := k.lines.counts
	s.Done, s.Gone, s.Skipped, s.Dead = n[sample.Done], n[sample.Gone], n[sample.Skipped], n[sample.Dead]
	for _, l := range k.lines.both() {
		s.Waiting += l.waiting()
		if p := l.front(); p != nil && !p.sample.Seen.IsZero() {
			s.OldestWaiting = max(s.OldestWaiting, time.Since(p.sample.Seen).Seconds())
		}
	}
	s.Journaled = s.Done + s.Gone + s.Skipped + s.Dead + s.Waiting
	return s
}

// Waiting returns how many samples of each lane have no outcome.
func (k *Consumer) Waiting() map[string]int64 {
	k.lines.mu.Lock()
	defer k.lines.mu.Unlock()
	n := map[string]int64{}
	for _, l := range k.lines.both() {
		n[l.name] = l.waiting()
	}
	return n
}

// streamFor is how long one huge sample may be on its way to a scanner. If no byte
// passes for the time limit of the try, the try ends before.
const streamFor = 12 * time.Hour

// Stuck returns an error if samples wait that could be pushed, and none has moved for too
// long before now. That is the time of two tries and a wait between them, in which
// nothing can be seen to move, and a minute; and longer while samples are in flight.
func (k *Consumer) Stuck(now time.Time) error {
	s, w := k.Status(), k.workers
	if s.Waiting == 0 || !w.health.open() || k.lines.unwritten.Err() != nil {
		w.moved.Store(now.UnixNano())
		return nil
	}
	at := time.Unix(0, w.moved.Load())
	limit := 2*w.c.Timeout + w.c.BackoffMax + time.Minute
	if s.InFlight > 0 {
		limit += streamFor
	}
	if w.c.Rate.N > 0 {
		limit += w.c.Rate.Per / time.Duration(w.c.Rate.N)
	}
	if now.Sub(at) <= limit {
		return nil
	}
	return fmt.Errorf("%d samples wait for scanner %s, and none was pushed since %s", s.Waiting, k.Name(), at.Format(time.TimeOnly))
}
