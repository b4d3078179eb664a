// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// TestAPausedScannerHasNoConnection: what is under way when the pause comes ends its own as
// soon as it is done, and does not keep it for the next batch.
func TestAPausedScannerHasNoConnection(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr()))
	const slow = 777
	in, hold := make(chan struct{}, 1), make(chan struct{})
	l.meddle(slow, func() { in <- struct{}{}; <-hold })
	l.start()
	l.swept()
	path := l.write("slow", strings.Repeat("s", slow))
	<-in
	must(t, l.p.Pause("clamav"))
	close(hold)
	l.judged(path)
	begun := time.Now()
	l.until("no connection", func() bool { return d.Open() == 0 })
	if took := time.Since(begun); took > 3*time.Second { // it would be kept for five
		t.Errorf("a connection was kept for %v", took)
	}
}
