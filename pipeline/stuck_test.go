// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// TestStuckIsWhatCouldMove: a part that waits without a reason is stuck. A part that
// waits for an operator or a scanner, or has nothing to do, is not.
func TestStuckIsWhatCouldMove(t *testing.T) {
	d := scantest.Start(t, "tcp")
	l := newLab(t, failing(d))
	l.start()
	l.swept()
	c := l.p.halves().consumers[0]
	if err := l.p.Stuck(); err != nil {
		t.Errorf("with nothing to push: %v", err)
	}
	l.until("the scanner", func() bool { return l.p.Status().Scanners[0].Up })
	d.Set(scantest.Mute)
	l.write("a", "one")
	l.until("a sample in flight", func() bool { return l.p.Status().Scanners[0].InFlight == 1 })
	if err := l.p.Stuck(); err != nil {
		t.Errorf("while a scanner takes its time: %v", err)
	}
	if err := c.Stuck(time.Now().Add(24 * time.Hour)); err == nil || !strings.Contains(err.Error(), "1 samples wait for scanner clam") {
		t.Errorf("after a day: %v", err)
	}
	if err := l.p.Pause("clam"); err != nil {
		t.Fatal(err)
	}
	if err := l.p.Stuck(); err != nil {
		t.Errorf("paused: %v", err)
	}
	if err := l.p.halves().producer.Stuck(time.Now().Add(time.Hour)); err == nil || !strings.Contains(err.Error(), "producer") {
		t.Errorf("a producer that does not come round: %v", err)
	}
	d.Set(scantest.Refuse) // this ends the pushes in flight
}
