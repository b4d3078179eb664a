// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"os"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// TestTouchedAgainAndAgain: a file whose rights are changed all the time costs few pushes,
// is pushed all the same, and keeps nobody else waiting.
func TestTouchedAgainAndAgain(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	restless := l.write("flood/a", "malware")
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = os.Chmod(restless, 0o600|os.FileMode(i%2*0o40)) // a failure only spares work
			}
		}
	}()
	for begun := time.Now(); time.Since(begun) < 3*time.Second; {
		path := l.write("else/f", time.Now().String())
		text, _ := os.ReadFile(path)
		before := len(outcomesOf(l.outcomes(), restless))
		l.until("the other file", func() bool { return l.pushed(path, string(text)) })
		if n := len(outcomesOf(l.outcomes(), restless)) - before; n > 30 {
			t.Errorf("%d outcomes of the restless file came before", n)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-ended
	l.until("its verdict", func() bool {
		for _, o := range outcomesOf(l.outcomes(), restless) {
			if o.Outcome == sample.Done && o.Verdict != scan.Malicious {
				return true
			}
		}
		return false
	})
	if n := len(l.lines("live")); n > 120 {
		t.Errorf("%d lines of few files", n)
	}
}
