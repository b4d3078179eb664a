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
