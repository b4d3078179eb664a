// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"fmt"
	"sync/atomic"
	"time"
)

// swept is what is known of a tree's whole sweeps.
type swept struct {
	at       time.Time     // when the last one ended
	took     time.Duration // how long it took
	excluded int           // how many files it left out by include and exclude
	now      *progress     // of the one that goes on; nil: none does
}

// progress is how far a sweep of a whole tree is.
type progress struct {
	since   time.Time
	of      int64        // how many folders the last one came to; 0: not known
	folders atomic.Int64 // how many it came to
}

// Sweeping is how far a sweep of a whole tree is.
type Sweeping struct {
	Since   time.Time `json:"since"`
	Folders int64     `json:"folders"` // how many it came to
	Of      int64     `json:"of"`      // about how many there are, by the last sweep; 0: not known
	Left    float64   `json:"left_s"`  // about how many seconds are left; 0: not known
}

// at returns how far the sweep is now.
func (p *progress) at(now time.Time) *Sweeping {
	s := &Sweeping{Since: p.since, Folders: p.folders.Load(), Of: p.of}
	if s.Folders > 0 && s.Of > s.Folders {
		s.Left = now.Sub(p.since).Seconds() * float64(s.Of-s.Folders) / float64(s.Folders)
	}
	return s
}

// String says it for people.
func (s *Sweeping) String() string {
	switch {
	case s.Left > 0:
		return fmt.Sprintf("%d of about %d folders, about %v left", s.Folders, s.Of, time.Duration(s.Left*float64(time.Second)).Round(time.Second))
	case s.Of > 0:
		return fmt.Sprintf("%d of about %d folders", s.Folders, s.Of)
	}
	return fmt.Sprintf("%d folders so far", s.Folders)
}

// tells lets the status tell how far the sweep is; nil: it has ended.
func (s *sweep) tells(now *progress) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.swept[s.d.Tree].now = now
}
