// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// TestLargeOnesAreSetAside: a few run, live lines go before those of the backlog, each keeps
// its order, and none is forgotten, whoever comes while the last one ends.
func TestLargeOnesAreSetAside(t *testing.T) {
	b := newBulk()
	of := func(lane string, n int) *push {
		return &push{line: line{sample: sample.Sample{Path: fmt.Sprint(lane[:1], n), Size: largeOver + 1}, at: sample.At{Lane: lane}}}
	}
	for n, lane := range []string{journal.Backlog, journal.Live, journal.Backlog, journal.Backlog, journal.Live, journal.Live} {
		if runs := b.begin(t.Context(), 4, of(lane, n)); runs != (n < 2) {
			t.Errorf("%s %d runs: %v", lane, n, runs)
		}
	}
	var order []string
	for range 6 {
		if p := b.next(); p != nil {
			order = append(order, p.sample.Path)
		}
	}
	if got := strings.Join(order, " "); got != "l4 l5 b2 b3" || b.running != 0 {
		t.Errorf("%s; %d run", got, b.running)
	}
	for range 2 { // the session of the first has given its place back, and has not ended yet
		if !b.begin(t.Context(), 1, of(journal.Live, 9)) {
			t.Error("with one place one is set aside")
		}
	}
}

// TestManyLargeOnesWait: beyond a bound the next one waits, until one is taken or a stop.
func TestManyLargeOnesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulk()
		p := &push{line: line{at: sample.At{Lane: journal.Live}}}
		for range 1 + asideMost {
			b.begin(t.Context(), 2, p)
		}
		ctx, stop := context.WithCancel(t.Context())
		begun := time.Now()
		time.AfterFunc(time.Second, func() { b.next() })
		time.AfterFunc(time.Minute, stop)
		for _, want := range []time.Duration{time.Second, time.Minute} {
			if b.begin(ctx, 2, p) || time.Since(begun) != want {
				t.Errorf("after %v, want %v", time.Since(begun), want)
			}
		}
	})
}
