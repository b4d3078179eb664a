// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// TestDatabaseReloadsUnderLoad: a clamd that reloads its database again and again makes
// no dead letters, and tells its whole version in each session.
func TestDatabaseReloadsUnderLoad(t *testing.T) {
	d := scantest.Clamd(t)
	l := newLab(t, clamd(d.UnixAddr, func(s *config.Scanner) { s.Workers, s.Cache = 4, time.Hour }))
	l.start()
	l.swept()
	const n = 400
	for i := range n {
		l.write(fmt.Sprint(i), strings.Repeat(fmt.Sprint(i), 500))
		if i%80 == 40 {
			c, err := net.Dial("unix", strings.TrimPrefix(d.UnixAddr, "unix:"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("zRELOAD\x00")); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
	}
	for _, o := range l.await(n) {
		if o.Outcome != sample.Done || o.Verdict != scan.Clean {
			t.Errorf("%+v", o)
		}
	}
}
