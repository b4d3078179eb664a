// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// TestAStopDoesNotWaitForSync: an append waits until Config.Sync has passed since the
// last one, but not once the lanes were told to stop, and none waits after that.
func TestAStopDoesNotWaitForSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sync = 10 * time.Second
		l, err := journal.OpenLanes(journal.Config{Disk: disktest.New(), Dir: "/j", Sync: sync}, time.Hour, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx, func(time.Time) {}) }()
		begun := time.Now()
		appends := func() time.Duration {
			if _, _, err := l.Lane(journal.Live).Append([]byte("line\n")); err != nil {
				t.Error(err)
			}
			return time.Since(begun)
		}
		if first, second := appends(), appends(); first != 0 || second != sync {
			t.Errorf("the first append returned after %v, the second after %v", first, second)
		}
		third := make(chan time.Duration)
		go func() { third <- appends() }()
		synctest.Wait()
		time.Sleep(time.Second)
		stop()
		if at := <-third; at != sync+time.Second {
			t.Errorf("the append that waited at the stop returned after %v", at)
		}
		if at := appends(); at != sync+time.Second {
			t.Errorf("an append after the stop returned after %v", at)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestAStopIsHeardWhileACutWaits for the append that waits for Config.Sync.
func TestAStopIsHeardWhileACutWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := journal.OpenLanes(journal.Config{Disk: disktest.New(), Dir: "/j", Sync: 10 * time.Second}, 3*time.Second, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx, func(time.Time) {}) }()
		appended := make(chan error, 2)
		for range 2 {
			go func() {
				_, _, err := l.Lane(journal.Live).Append([]byte("line\n"))
				appended <- err
			}()
			synctest.Wait()
		}
		time.Sleep(4 * time.Second) // a cut is due and waits for its turn
		begun := time.Now()
		stop()
		for _, err := range []error{<-ended, <-appended, <-appended} {
			if err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("the stop took %v", took)
		}
	})
}
