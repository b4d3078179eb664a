// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/scan"
)

// TestReadAllMissesNothing, also while the ledger is cut: each line that was recorded
// before is read.
func TestReadAllMissesNothing(t *testing.T) {
	l, err := Open(disktest.New(), "/ledger", Bounds{Keep: 1000, Max: -1, MinFree: -1}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		at := sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 1, Offset: int64(i + 1)}}
		since := l.End()
		if err := l.Record([]sample.Outcome{{Time: time.Now(), Scanner: "s", Path: fmt.Sprint("/a", i), Outcome: sample.Done, Verdict: scan.Clean, At: at}}); err != nil {
			t.Fatal(err)
		}
		var cut sync.WaitGroup
		cut.Go(func() { _ = l.Cut(time.Now()) }) // an error shows in the count
		n := 0
		if err := l.ReadAll(t.Context(), since, func() { n = 0 }, func(string, sample.At, []byte) { n++ }); err != nil {
			t.Fatal(err)
		}
		if cut.Wait(); n == 0 {
			t.Fatalf("round %d: a line that was recorded before was not read", i)
		}
	}
}

// TestReadOnMissesNothing: another scanner's outcomes let the ledger be cut, at each step of
// the reading.
func TestReadOnMissesNothing(t *testing.T) {
	for step := 0; ; step++ {
		l, err := Open(disktest.New(), "/ledger", Bounds{Keep: 1000, Max: -1, MinFree: -1}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		record := func(n int64) {
			at := sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 1, Offset: n}}
			if err := l.Record([]sample.Outcome{{Time: time.Now(), Scanner: "s", Path: fmt.Sprint("/a", n), Outcome: sample.Done, Verdict: scan.Clean, At: at}}); err != nil {
				t.Fatal(err)
			}
		}
		record(1)
		since := l.End()
		record(2)
		opens := 0
		l.Dir = meddled{l.Dir, func() {
			if opens++; opens != step+1 {
				return
			}
			if err := l.Cut(time.Now()); err != nil {
				t.Fatal(err)
			}
			record(3)
		}}
		read := map[int64]bool{}
		if err := l.ReadOn(t.Context(), since, func(_ string, at sample.At, _ []byte) { read[at.Pos.Offset] = true }); err != nil {
			t.Fatal(err)
		}
		if !read[2] || read[1] {
			t.Errorf("a cut at step %d: %v are read", step, read)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if opens <= step {
			return // there are no more steps
		}
	}
}
