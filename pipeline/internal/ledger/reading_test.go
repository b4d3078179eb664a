// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// TestStoryTellsEachLineOnce, over cuts, from any mark that it gave, also where a sealed
// segment is empty.
func TestStoryTellsEachLineOnce(t *testing.T) {
	l, err := Open(disktest.New(), "/ledger", Bounds{Keep: 10}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var told []string
	mark := ""
	tell := func(s Story) {
		t.Helper()
		for {
			next, err := s.Next(mark, 2, func(text []byte) {
				o, err := sample.ParseOutcome(text)
				if err != nil {
					t.Fatal(err)
				}
				told = append(told, o.Path)
			})
			if err != nil {
				t.Fatal(err)
			}
			if next == mark {
				return
			}
			mark = next
		}
	}
	n := 0
	for round := range 5 {
		for range round {
			if err := l.Record([]sample.Outcome{{Path: fmt.Sprint("/", n), Scanner: "s", Outcome: sample.Gone, Time: time.Now()}}); err != nil {
				t.Fatal(err)
			}
			n++
		}
		if round%2 == 0 {
			tell(l.Story())
		} else {
			tell(Foreign(l.Dir))
		}
		if err := l.Cut(time.Date(2030, 1, 1, round, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
		if round == 2 { // as a failed append leaves it
			names, err := journal.Segments(l.Dir, Base)
			if err != nil {
				t.Fatal(err)
			}
			empty := strings.Replace(names[len(names)-2], "-0200", "-0230", 1)
			f, err := l.Dir.Open(empty, os.O_CREATE|os.O_WRONLY)
			if err != nil || f.Close() != nil {
				t.Fatal(err)
			}
			after, err := journal.Segments(l.Dir, Base)
			if err != nil || len(after) != len(names)+1 {
				t.Fatalf("%q is no segment: %q, %v", empty, after, err)
			}
		}
	}
	tell(l.Story())
	if len(told) != n {
		t.Fatalf("%d lines of %d", len(told), n)
	}
	for i, path := range told {
		if path != fmt.Sprint("/", i) {
			t.Errorf("line %d is %s", i, path)
		}
	}
	mark, told = "", nil
	if tell(l.Story()); len(told) == 0 {
		t.Error("from no mark it tells nothing")
	}
}

// meddled calls before ahead of each open.
type meddled struct {
	journal.Folder
	before func()
}

func (m meddled) Open(name string, flag int) (journal.File, error) {
	m.before()
	return m.Folder.Open(name, flag)
}

// TestAStoryIsNotThatOfTheNextSegment: the ledger is cut while a line is looked for, at each
// step of that. Lines that are not durable are told to nobody, and all others once.
func TestAStoryIsNotThatOfTheNextSegment(t *testing.T) {
	for step := range 8 {
		l, err := Open(disktest.New(), "/ledger", Bounds{Keep: 10}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		outcome := func(path string) []sample.Outcome {
			return []sample.Outcome{{Path: path, Scanner: "s", Outcome: sample.Gone, Time: time.Now()}}
		}
		for _, path := range []string{"/a", "/b"} {
			if err := l.Record(outcome(path)); err != nil {
				t.Fatal(err)
			}
		}
		var told []string
		mark, opens := "", 0
		next := func(s Story, most int) {
			for again := true; again; {
				was := mark
				if mark, err = s.Next(mark, most, func(text []byte) {
					o, err := sample.ParseOutcome(text)
					if err != nil {
						t.Fatal(err)
					}
					told = append(told, o.Path)
				}); err != nil {
					t.Fatal(err)
				}
				again = mark != was
			}
		}
		if mark, err = l.Story().Next(mark, 1, func([]byte) { told = append(told, "/a") }); err != nil {
			t.Fatal(err)
		}
		s := l.Story()
		var w Written
		s.dir = meddled{l.Dir, func() {
			if opens++; opens != step+1 {
				return
			}
			if err := l.Cut(time.Now()); err != nil {
				t.Fatal(err)
			}
			if w, err = l.Write(outcome("/c")); err != nil {
				t.Fatal(err)
			}
		}}
		next(s, 10)
		if opens <= step {
			break // there are no more steps
		}
		for range 2 {
			next(l.Story(), 10)
		}
		if got := strings.Join(told, " "); got != "/a /b" {
			t.Errorf("cut at step %d: %s is told, and /c is not durable", step, got)
		}
		if err := l.Sync(w); err != nil {
			t.Fatal(err)
		}
		next(l.Story(), 10)
		if got := strings.Join(told, " "); got != "/a /b /c" {
			t.Errorf("cut at step %d: %s is told", step, got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
