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
