// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// filled returns a ledger of n sealed segments, and the mark at the begin of each. Those
// in dead tell of a dead letter.
func filled(t *testing.T, d *disktest.Disk, b Bounds, n int, dead ...int) (l *Ledger, marks []Mark) {
	t.Helper()
	l, err := Open(d, "/ledger", b, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for i := range n {
		o := sample.Outcome{Scanner: "clamav", Path: fmt.Sprintf("/srv/%04d", i), Outcome: sample.Done, Verdict: "clean", At: sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 1, Offset: int64(i)}}}
		if slices.Contains(dead, i) {
			o.Outcome, o.Verdict = sample.Dead, ""
		}
		if err := l.Record([]sample.Outcome{o}); err != nil {
			t.Fatal(err)
		}
		marks = append(marks, l.End())
		if err := l.Tried(sample.Try{Scanner: "clamav", Path: "/srv/x", Try: 1, Reason: "error"}); err != nil {
			t.Fatal(err)
		}
		if err := l.Cut(time.Unix(1800000000+60*int64(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	return l, marks
}

// stay returns how many sealed segments of a series there are.
func stay(t *testing.T, l *Ledger, base string) int {
	t.Helper()
	names, err := journal.Segments(l.Dir, base)
	if err != nil {
		t.Fatal(err)
	}
	return len(names) - 1
}

// TestTheLedgerHasABound in bytes. What a mark needs stays, and so does a segment that
// tells of a dead letter that is on the list.
func TestTheLedgerHasABound(t *testing.T) {
	for _, c := range []struct {
		what   string
		max    int64
		mark   int
		dead   []int
		listed func(sample.Outcome) bool
		want   int
	}{
		{"no bound", -1, 9, nil, nil, 10},
		{"room for none", 1, 9, nil, nil, 1},
		{"room for about four", 700, 9, nil, nil, 5},
		{"a mark", 1, 5, nil, nil, 5},
		{"a dead letter", 1, 9, []int{4}, nil, 2},
		{"dead letters off the list", 1, 9, []int{2, 4}, func(sample.Outcome) bool { return false }, 1},
		{"one that is on it", 1, 9, []int{2, 4, 6}, func(o sample.Outcome) bool { return o.Path == "/srv/0006" }, 2},
	} {
		l, marks := filled(t, disktest.New(), Bounds{Keep: 100, Max: c.max, MinFree: -1, Listed: c.listed}, 10, c.dead...)
		if err := l.Tend(time.Unix(1800000000, 0), 100, marks[c.mark:c.mark+1]); err != nil {
			t.Fatal(err)
		}
		if n := stay(t, l, Base); n != c.want {
			t.Errorf("%s: %d segments stay, want %d", c.what, n, c.want)
		}
		if n := stay(t, l, TriesBase); c.max == 1 && n != 0 {
			t.Errorf("%s: %d segments of tries stay", c.what, n)
		}
	}
}

// TestShortRoomTakesTheOldLedger before the intake stops at min_free, and that is said
// once.
func TestShortRoomTakesTheOldLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := disktest.New()
		const minFree = 256 << 20
		d.SetFree(minFree + before)
		l, marks := filled(t, d, Bounds{Keep: 100, Max: -1, MinFree: minFree}, 10)
		var said strings.Builder
		l.log = slog.New(slog.NewTextHandler(&said, nil))
		ctx := t.Context()
		go func() { _ = l.Run(ctx, func() []Mark { return marks[7:8] }) }()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := stay(t, l, Base); n != 10 {
			t.Errorf("%d segments with enough room", n)
		}
		d.SetFree(minFree + before - 1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n, m := stay(t, l, Base), stay(t, l, TriesBase); n != 3 || m != 0 {
			t.Errorf("%d segments of outcomes, %d of tries", n, m)
		}
		if n := strings.Count(said.String(), "room is short"); n != 1 {
			t.Errorf("said %d times", n)
		}
	})
}

// TestWhatGoesBeforeTheLedger: while that makes room, or is at it, no old outcomes go.
func TestWhatGoesBeforeTheLedger(t *testing.T) {
	for what, c := range map[string]struct {
		gives int64 // bytes
		want  int   // segments that stay
	}{"it is enough": {1 << 20, 10}, "it is not": {0, 3}} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := disktest.New()
				const minFree = 256 << 20
				d.SetFree(minFree + before)
				asked := 0
				var marks []Mark
				var l *Ledger
				b := Bounds{Keep: 100, Max: -1, MinFree: minFree, First: func(short bool) bool {
					if !short {
						return false
					}
					if asked++; asked < 5 {
						if n := stay(t, l, Base); n != 10 {
							t.Errorf("%d segments before it has gone", n)
						}
						return false
					}
					if asked == 5 {
						d.SetFree(minFree + before - 1 + c.gives)
					}
					return true
				}}
				l, marks = filled(t, d, b, 10)
				d.SetFree(minFree + before - 1)
				ctx := t.Context()
				go func() { _ = l.Run(ctx, func() []Mark { return marks[7:8] }) }()
				time.Sleep(20 * time.Second)
				synctest.Wait()
				if n := stay(t, l, Base); n != c.want || asked < 5 {
					t.Errorf("%d segments stay, want %d; asked %d times", n, c.want, asked)
				}
			})
		})
	}
}

// TestOutcomesAreRecordedWhileOldOnesAreLookedAt: which old segments tell of dead letters may
// take long to find out, and the ledger takes outcomes meanwhile.
func TestOutcomesAreRecordedWhileOldOnesAreLookedAt(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	first := true
	l, marks := filled(t, disktest.New(), Bounds{Keep: 100, Max: 1, MinFree: -1, Listed: func(sample.Outcome) bool {
		if first {
			first = false
			close(asked)
			<-goOn
		}
		return false
	}}, 12, 4)
	pruned := make(chan error, 1)
	go func() { pruned <- l.Tend(time.Unix(1800000000, 0), 100, marks[11:12]) }()
	<-asked
	recorded := make(chan error, 1)
	go func() {
		recorded <- l.Record([]sample.Outcome{{Scanner: "clamav", Path: "/srv/new", Outcome: sample.Done}})
	}()
	select {
	case err := <-recorded:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("an outcome waits for the old ones")
	}
	close(goOn)
	if err := <-pruned; err != nil {
		t.Error(err)
	}
	if n := stay(t, l, Base); n != 1 {
		t.Errorf("%d segments stay, want 1", n)
	}
}
