// SPDX-License-Identifier: Apache-2.0

package look

import (
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// TestListed: a dead letter is on the list until a later outcome of its sample is noted.
func TestListed(t *testing.T) {
	letter := func(id string, offset int64) sample.Outcome {
		return sample.Outcome{Time: time.Now().Add(-time.Hour), Scanner: "clamav", ID: id, Path: "/srv/" + id, Outcome: sample.Dead, At: sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 1, Offset: offset}}}
	}
	a, b, c := letter("a", 1), letter("b", 2), letter("c", 3)
	var l Letters
	if !l.Listed(a) {
		t.Error("before the ledger was read nobody knows")
	}
	l.loaded = true
	for _, o := range []sample.Outcome{a, b, c} {
		l.Note(o)
	}
	dropped := a
	dropped.Outcome, dropped.Reason, dropped.At = sample.Skipped, sample.ReasonDropped, sample.At{}
	l.Note(dropped)
	again := letter("b", 7)
	l.Note(again)
	for _, want := range []struct {
		what   string
		o      sample.Outcome
		listed bool
	}{{"dropped", a, false}, {"dead once more: the older one", b, false}, {"dead once more", again, true}, {"nothing since", c, true}} {
		if is := l.Listed(want.o); is != want.listed {
			t.Errorf("%s: %v", want.what, is)
		}
	}
	if a.Time = time.Now(); !l.Listed(a) {
		t.Error("one of the last minute may not be noted yet")
	}
}
