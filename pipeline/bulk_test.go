// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// TestLargeOnesGoOnWithFewPlaces: none is forgotten where the places are few.
func TestLargeOnesGoOnWithFewPlaces(t *testing.T) {
	for workers := range 3 {
		t.Run(fmt.Sprint(1+workers), func(t *testing.T) {
			t.Parallel()
			d := scantest.Start(t, scantest.Networks()[0])
			l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Workers = 1 + workers }))
			var paths []string
			for i := range 12 {
				paths = append(paths, l.write(fmt.Sprint("large", i), strings.Repeat("x", 1<<20+1+i)))
			}
			l.start()
			l.judged(paths...)
		})
	}
}

// TestSmallSamplesPassLargeOnes: very many large samples are with the scanner or wait for
// it, and it answers none of them. Small ones that come behind have their verdicts.
func TestSmallSamplesPassLargeOnes(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Workers = 6 }))
	const size = 1<<20 + 1
	hold, in := make(chan struct{}), make(chan struct{}, 100)
	l.meddle(size, func() { in <- struct{}{}; <-hold })
	l.start()
	l.swept()
	for i := range 30 {
		l.write(fmt.Sprint("large", i), strings.Repeat("x", size))
	}
	l.until("all journaled", func() bool { return l.p.Status().Scanners[0].Journaled == 30 })
	l.until("some at the scanner", func() bool { return len(in) == 3 })
	for i := range 20 {
		path := l.write(fmt.Sprint("small", i), "small")
		l.until("its verdict", func() bool { return l.last()[path].Verdict == scan.Clean })
	}
	if n := len(in); n != 3 {
		t.Errorf("%d large samples are at the scanner, want half of its places", n)
	}
	close(hold)
	l.until("all verdicts", func() bool { return l.p.Status().Scanners[0].Waiting == 0 })
	l.until("all outcomes", func() bool { return len(l.last()) == 50 })
}
