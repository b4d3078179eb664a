// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
)

// TestTokensThatWereTakenApartAreNotUsedTogether: some samples take long to be read, some
// have their outcome without the scanner. In each minute at most four are handed over.
func TestTokensThatWereTakenApartAreNotUsedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(config.Rate{N: 4, Per: time.Minute})
		handed := make(chan time.Time, 100)
		for i := range 24 {
			if err := q.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			go func() {
				time.Sleep(time.Duration(i%4) * 20 * time.Second) // it is read
				if i%3 == 0 {
					q.give()
					return
				}
				if q.turn(t.Context()) == nil {
					handed <- time.Now()
				}
			}()
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		close(handed)
		var all []time.Time
		for at := range handed {
			all = append(all, at)
		}
		if len(all) != 16 {
			t.Fatalf("%d handed over", len(all))
		}
		for i := range all[4:] {
			if span := all[i+4].Sub(all[i]); span < time.Minute {
				t.Errorf("five within %v", span)
			}
		}
	})
}
