// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
)

// keyed is a scanner that answers with its key when the test sends it.
type keyed struct {
	scan.Scanner
	keys chan string
	asks int
}

func (k *keyed) Key(ctx context.Context) string {
	k.asks++
	select {
	case key := <-k.keys:
		return key
	case <-ctx.Done():
		return ""
	}
}

// TestTheKeyIsWaitedFor: while a scanner is asked for its key, callers wait for the
// answer and do not get the previous key.
func TestTheKeyIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &keyed{keys: make(chan string, 1)}
		h := newHealth(config.Scanner{}, s, newSights(Config{Scan: s}, nil), slog.New(slog.DiscardHandler))
		want := func(want string, asks int) {
			t.Helper()
			if key := h.judgesBy(t.Context()); key != want || s.asks != asks {
				t.Errorf("%q after %d questions, want %q after %d", key, s.asks, want, asks)
			}
		}
		s.keys <- "old"
		want("old", 1)
		want("old", 1)
		<-time.After(keyGood + time.Millisecond)
		got := make(chan string, 50)
		var all sync.WaitGroup
		for range cap(got) {
			all.Go(func() { got <- h.judgesBy(t.Context()) })
		}
		synctest.Wait()
		if len(got) > 0 {
			t.Errorf("%d went by %q while it was asked", len(got), <-got)
		}
		s.keys <- "new"
		all.Wait()
		close(got)
		for key := range got {
			if key != "new" {
				t.Errorf("one went by %q", key)
			}
		}
		want("new", 2)
		// An answer that takes longer than keyGood is discarded, and the scanner is not asked
		// again at once.
		<-time.After(keyGood + time.Millisecond)
		begun := time.Now()
		want("", 3)
		want("", 3)
		if took := time.Since(begun); took > keyGood+time.Millisecond {
			t.Errorf("waited %v", took)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		<-time.After(2 * keyGood)
		if key := h.judgesBy(ctx); key != "" {
			t.Errorf("%q after the end", key)
		}
	})
}
