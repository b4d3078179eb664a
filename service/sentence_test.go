// SPDX-License-Identifier: Apache-2.0

package service

import (
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline"
)

// TestTheSentenceSaysNoMoreThanIsKnown: that everything is pushed is said only of trees
// that were looked through, and never beside its opposite.
func TestTheSentenceSaysNoMoreThanIsKnown(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	type status = pipeline.Status
	whole := func(change func(*status)) status {
		s := status{
			Started: now.Add(-time.Hour), Half: "both",
			Trees:    []pipeline.TreeStatus{{Name: "drop", Path: "/srv/drop", Watched: true, LastSweep: &now}},
			Scanners: []pipeline.ScannerStatus{{Name: "clamav", Up: true}},
		}
		change(&s)
		return s
	}
	for want, change := range map[string]func(*status){
		"Everything that has settled is pushed.": func(*status) {},
		"Starting.":                              func(s *status) { *s = status{} },
		"Nothing is journaled or pushed now.":    func(s *status) { s.Trees, s.Scanners, s.NotReady = nil, nil, []string{"the state cannot be opened"} },
		"Everything that has settled is pushed. 3 files are being written, 12 are excluded by rule, 1 folder cannot be read: /srv/drop/x, EACCES.": func(s *status) {
			s.Trees[0].Settling, s.Trees[0].Excluded, s.Trees[0].Unwatched = 3, 12, 1
			s.Trees[0].Troubles = []pipeline.Trouble{{Path: "/srv/drop/x", Error: "EACCES"}}
		},
		"Everything that has settled is pushed. 2 folders cannot be read.": func(s *status) { s.Trees[0].Unwatched = 2 },
		"Everything that has settled is pushed. 9 folders are swept each minute and not watched. tree drop: raise the limit.": func(s *status) {
			s.Trees[0].Unwatched, s.Trees[0].Limit = 9, "raise the limit"
		},
		"No tree is watched: name one in a [[watch]], or give -d TREE.": func(s *status) { s.Trees = nil },
		"Everything that is journaled is pushed.":                       func(s *status) { s.Trees, s.Half = nil, "push" },
		"1 tree is watched.": func(s *status) { s.Scanners, s.Half = nil, "watch" },
		"Intake is stopped: 3 MiB are free. What was journaled is pushed.": func(s *status) {
			s.IntakeStopped = "intake is stopped: 3 MiB are free"
		},
		"Intake is stopped: disk. 1 sample waits, the oldest for 5s.": func(s *status) {
			s.IntakeStopped, s.Scanners[0].Waiting, s.Scanners[0].OldestWaiting = "intake is stopped: disk", 1, 5
		},
		"What was journaled is pushed; not every tree has been looked through.": func(s *status) { s.Trees[0].LastSweep = nil },
		"What was journaled is pushed; not every tree has been looked through. tree drop is not watched, see that /srv/drop is there.": func(s *status) {
			s.Trees[0].Watched = false
		},
		"What was journaled is pushed; not every tree has been looked through. tree drop cannot be read, permission denied: let the user that certpush runs as read /srv/drop.": func(s *status) {
			s.Trees[0].Unread, s.Trees[0].Unwatched = "permission denied", 1
		},
		"Everything that has settled is pushed. 2 dead letters, see certpush dead list. scanner clamav is paused, see certpush resume.": func(s *status) {
			s.Scanners[0].DeadLetters, s.Scanners[0].Paused = 2, true
		},
	} {
		if got := headline(whole(change), now); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestNoNameIsShownWithoutTheToken: over TCP the status counts, and names nothing of what
// lies in the trees.
func TestNoNameIsShownWithoutTheToken(t *testing.T) {
	s := pipeline.Status{Trees: []pipeline.TreeStatus{{Name: "drop", Unwatched: 1, Troubles: []pipeline.Trouble{{Path: "/srv/drop/secret"}}}}}
	if n := s.Nameless(); len(n.Trees[0].Troubles) != 0 || n.Trees[0].Unwatched != 1 || len(s.Trees[0].Troubles) != 1 {
		t.Errorf("%+v, and %+v", n, s)
	}
}
