// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// lazily runs a consumer whose outcomes are synced by time, with n lines handed out.
// syncs counts what the disk synced, and refuses lets it refuse.
func lazily(t *testing.T, n int, during func(ctx context.Context, c *Consumer, syncs *atomic.Int64, refuses *atomic.Bool)) {
	inMemory(t)
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, 2)
		c := m.consumers[0]
		c.lines.live.queue = make(chan *push, n)
		for range n {
			m.append(journal.Live)
			m.read(c, journal.Live)
		}
		var syncs atomic.Int64
		var refuses atomic.Bool
		m.d.Before = func(op disktest.Op) error {
			if op.Kind == "sync" {
				if refuses.Load() {
					return syscall.EIO
				}
				syncs.Add(1)
			}
			return nil
		}
		ctx, stop := context.WithCancel(t.Context())
		over, synced := make(chan struct{}), make(chan struct{})
		go func() { c.lines.syncs(ctx, over); close(synced) }()
		during(ctx, c, &syncs, &refuses)
		stop()
		close(over)
		<-synced
		if open, told := standsAt(c); open > 0 || told != n {
			t.Errorf("%d lines are open after the stop, %d of %d have their outcome", open, told, n)
		}
	})
}

// standsAt returns how many lines are open, and how many have their outcome.
func standsAt(c *Consumer) (open, told int) {
	c.lines.mu.Lock()
	defer c.lines.mu.Unlock()
	return c.lines.live.open.Len(), int(c.lines.counts[sample.Gone])
}

// ends gives the next n pushes their outcomes, each in a call of its own.
func ends(ctx context.Context, c *Consumer, n int) {
	for range n {
		p := <-c.lines.live.queue
		out := p.outcome(c.Name())
		out.Outcome = sample.Gone
		c.lines.end(ctx, []ended{{push: p, out: out}})
	}
}

// TestOutcomesAreSyncedTogether: one sync serves what was written meanwhile, so late after
// the first. Until then the lines are open, and afterwards they are not.
func TestOutcomesAreSyncedTogether(t *testing.T) {
	lazily(t, 50, func(ctx context.Context, c *Consumer, syncs *atomic.Int64, _ *atomic.Bool) {
		ends(ctx, c, 50)
		synctest.Wait()
		if open, _ := standsAt(c); open != 50 || syncs.Load() != 0 {
			t.Errorf("%d of 50 lines are open and %d syncs were made before it is time", open, syncs.Load())
		}
		time.Sleep(c.lines.unsynced.every)
		synctest.Wait()
		if open, _ := standsAt(c); open != 0 || syncs.Load() != 1 {
			t.Errorf("%d lines are open after %d syncs", open, syncs.Load())
		}
	})
}

// TestManyOutcomesAreSyncedAtOnce: beyond 1,024 nobody waits for the time.
func TestManyOutcomesAreSyncedAtOnce(t *testing.T) {
	lazily(t, 3*mostUnsynced, func(ctx context.Context, c *Consumer, syncs *atomic.Int64, _ *atomic.Bool) {
		begun := time.Now()
		ends(ctx, c, 3*mostUnsynced)
		if took := time.Since(begun); took > 0 || syncs.Load() < 2 {
			t.Errorf("it took %v and %d syncs", took, syncs.Load())
		}
		if _, told := standsAt(c); told < mostUnsynced {
			t.Errorf("%d outcomes are told", told)
		}
	})
}

// TestPushingWaitsForADiskThatDoesNotSync: what was written is kept, and no place is given
// back until it is recorded again.
func TestPushingWaitsForADiskThatDoesNotSync(t *testing.T) {
	lazily(t, 4, func(ctx context.Context, c *Consumer, _ *atomic.Int64, refuses *atomic.Bool) {
		refuses.Store(true)
		ends(ctx, c, 2)
		time.Sleep(time.Minute)
		go ends(ctx, c, 2)
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, told := standsAt(c); told != 0 || len(c.lines.live.queue) != 1 || c.lines.unwritten.Err() == nil {
			t.Errorf("%d outcomes are told, %d pushes wait; the ledger: %v", told, len(c.lines.live.queue), c.lines.unwritten.Err())
		}
		refuses.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if _, told := standsAt(c); told != 4 || c.lines.unwritten.Err() != nil {
			t.Errorf("%d outcomes are told; the ledger: %v", told, c.lines.unwritten.Err())
		}
	})
}
