// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

func BenchmarkLineWrite(b *testing.B) {
	s := anEvent("/srv/samples/2026/11/22/incoming/invoice-004711.exe", 4096, watch.Time{Sec: 1763810000, Nsec: 123456789})
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = s.appendLine(buf[:0])
	}
}

func BenchmarkLineRead(b *testing.B) {
	s := anEvent("/srv/samples/2026/11/22/incoming/invoice-004711.exe", 4096, watch.Time{Sec: 1763810000, Nsec: 123456789})
	line := bytes.TrimSuffix(s.appendLine(nil), []byte{'\n'})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseLine(line); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLedgerLineRead reads one of the ledger lines that a start reads back.
func BenchmarkLedgerLineRead(b *testing.B) {
	o := Outcome{Time: time.Unix(1763810000, 123456789), ID: "0123456789abcdef", Scanner: "clamav", Path: "/srv/samples/2026/11/22/incoming/invoice-004711.exe", Size: 4096,
		SHA256: strings.Repeat("0123456789abcdef", 4), Outcome: Done, Verdict: scan.Clean, Tries: 1, Took: 3 * time.Millisecond, At: At{journal.Live, journal.Pos{Segment: 4711, Offset: 1234567}}}
	for _, line := range []struct{ name, path string }{{"plain", o.Path}, {"escaped", `/srv/samples/"`}} {
		b.Run(line.name, func(b *testing.B) {
			o.Path = line.path
			text := o.appendLine(nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, ok := ParseFinished(text); !ok {
					b.Fatal("it tells nothing")
				}
			}
		})
	}
}
