// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"testing"

	"github.com/certpush/certpush/pipeline/watch"
)

func BenchmarkLineWrite(b *testing.B) {
	s := sampleOf("/srv/samples/2026/11/22/incoming/invoice-004711.exe", 4096, watch.Time{Sec: 1763810000, Nsec: 123456789})
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = s.appendLine(buf[:0])
	}
}

func BenchmarkLineRead(b *testing.B) {
	s := sampleOf("/srv/samples/2026/11/22/incoming/invoice-004711.exe", 4096, watch.Time{Sec: 1763810000, Nsec: 123456789})
	line := bytes.TrimSuffix(s.appendLine(nil), []byte{'\n'})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseLine(line); err != nil {
			b.Fatal(err)
		}
	}
}
