// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"
	"time"
)

// Status says how many samples wait, the age of the oldest one, and the state of each
// tree and scanner. `status --json` prints its JSON form.
type Status struct {
	Version  string          `json:"version"`
	Started  time.Time       `json:"started"`
	Trees    []TreeStatus    `json:"trees"`
	Scanners []ScannerStatus `json:"scanners"`

	Half          string   `json:"half"`           // both, watch or push
	Summary       string   `json:"summary"`        // the sentence to read first; the service sets it
	NotReady      []string `json:"not_ready"`      // why it is not ready; empty: it is
	IntakeStopped string   `json:"intake_stopped"` // why nothing is journaled; "": it is
}

// Nameless returns s without the names of what lies in the trees.
func (s Status) Nameless() Status {
	s.Trees = slices.Clone(s.Trees)
	for i := range s.Trees {
		s.Trees[i].Troubles = nil
	}
	return s
}

// halfName returns the value of Status.Half.
func halfName(h Half) string {
	switch h {
	case ProducerOnly:
		return "watch"
	case ConsumerOnly:
		return "push"
	}
	return "both"
}
