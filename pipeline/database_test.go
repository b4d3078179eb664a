// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// TestDatabaseReloadsUnderLoad: a clamd that reloads its database again and again makes
// no dead letters, and tells its whole version in each session. One that answers nobody
// while it loads is waited for: no sample uses up a try, and none is called clean without
// it.
func TestDatabaseReloadsUnderLoad(t *testing.T) {
	for _, concurrent := range []string{"yes", "no"} {
		t.Run(concurrent, func(t *testing.T) {
			// Without it clamd waits for IdleTimeout and then loads, and answers nobody meanwhile.
			d := scantest.Clamd(t, "ConcurrentDatabaseReload "+concurrent, "IdleTimeout 1")
			d.Burden(100_000) // a load takes a while
			d.Restart()
			l := newLab(t, clamd(d.UnixAddr, func(s *config.Scanner) { s.Workers, s.Cache = 4, time.Hour }))
			l.start()
			l.swept()
			const n = 400
			learned := "known since the last reload, " + concurrent
			for i := range n {
				l.write(fmt.Sprint(i), strings.Repeat(fmt.Sprint(i), 500))
				if i%80 == 40 {
					d.Learn(fmt.Sprint(learned, i))
				}
			}
			for _, o := range l.await(n) {
				if o.Outcome != sample.Done || o.Verdict != scan.Clean || o.Tries != 1 {
					t.Errorf("%+v", o)
				}
			}
			tries := 0
			l.until("what the last reload brought", func() bool {
				if tries++; tries%50 == 1 { // clamd drops a wish to reload while it reloads
					d.Learn(fmt.Sprint(learned, 360))
				}
				path := l.write(fmt.Sprint("learned", tries), fmt.Sprint(learned, 360))
				l.judged(path)
				return outcomesOf(l.outcomes(), path)[0].Verdict == scan.Malicious
			})
		})
	}
}
