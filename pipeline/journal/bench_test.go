// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkAppend appends batches of 1,000 lines of 200 bytes: the cost of a line
// without the wait for the disk.
func BenchmarkAppend(b *testing.B) {
	s, err := OpenSeries(Config{Dir: b.TempDir(), Base: "monitor.log", Lane: Live, CutSize: 64 << 20}, silent)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	line := append(bytes.Repeat([]byte{'x'}, 199), '\n')
	batch := make([][]byte, 1000)
	for i := range batch {
		batch[i] = line
	}
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(batch) {
		if _, _, err := s.Append(batch[:min(len(batch), b.N-n)]...); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendWaiting runs goroutines that each append one line and wait until it is
// durable. Those that wait share one fsync.
func BenchmarkAppendWaiting(b *testing.B) {
	for _, n := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := OpenSeries(Config{Dir: b.TempDir(), Base: "monitor.log", Lane: Live, CutSize: 64 << 20}, silent)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			line := append(bytes.Repeat([]byte{'x'}, 199), '\n')
			var left atomic.Int64
			left.Store(int64(b.N))
			begun := time.Now()
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						if _, _, err := s.Append(line); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/time.Since(begun).Seconds(), "lines/s")
		})
	}
}

// BenchmarkRead reads sealed lines of 200 bytes.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	s, err := OpenSeries(Config{Dir: dir, Base: "monitor.log", Lane: Live, CutSize: 64 << 20}, silent)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	batch := make([][]byte, 10000)
	for i := range batch {
		batch[i] = append(bytes.Repeat([]byte{'x'}, 199), '\n')
	}
	if _, _, err := s.Append(batch...); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		r, err := NewReader(s.Folder(), "monitor.log", Pos{}, s, silent)
		if err != nil {
			b.Fatal(err)
		}
		for ; n < b.N; n++ {
			if _, ok, err := r.Next(b.Context()); err != nil {
				b.Fatal(err)
			} else if !ok {
				break
			}
		}
		r.Close()
	}
}
