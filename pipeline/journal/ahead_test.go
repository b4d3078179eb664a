// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// TestCountIsWhatNextWillHandOut: lines are appended, cut, pruned and read in any order,
// from any place, and Count is always right.
func TestCountIsWhatNextWillHandOut(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for seed := range uint64(60) {
		draw := rand.New(rand.NewPCG(seed, 3))
		now := time.Unix(1800000000, 0)
		s, err := journal.OpenSeries(journal.Config{Disk: disktest.New(), Dir: "/j", Base: journal.Base(journal.Live), Lane: journal.Live, CutSize: 3000}, log)
		if err != nil {
			t.Fatal(err)
		}
		var places []journal.Pos
		from := journal.Pos{}
		r, err := journal.NewReader(s.Folder(), journal.Base(journal.Live), from, s, log)
		if err != nil {
			t.Fatal(err)
		}
		for range 300 {
			switch draw.IntN(12) {
			default:
				text := strings.Repeat("x", 1+draw.IntN(80))
				if draw.IntN(60) == 0 {
					text = strings.Repeat("y", journal.MaxLine+draw.IntN(99))
				}
				at, _, err := s.Append([]byte(text + "\n"))
				if err != nil {
					t.Fatal(err)
				}
				places = append(places, at)
			case 0:
				now = now.Add(time.Minute)
				if err := s.Cut(now); err != nil {
					t.Fatal(err)
				}
			case 1:
				if draw.IntN(8) == 0 {
					if _, err := s.Prune(draw.IntN(3), -1, func([]byte) bool { return true }); err != nil {
						t.Fatal(err)
					}
				}
			case 2, 3, 4, 5:
				if _, _, err := r.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			case 6:
				r.Count(t.Context())
			case 7:
				if len(places) > 0 && draw.IntN(10) == 0 {
					r.Seek(places[draw.IntN(len(places))])
				}
			}
		}
		told := r.Count(t.Context())
		for {
			before := r.Count(t.Context())
			_, ok, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, _, missed := r.Missed()
			if missed { // segments were pruned ahead of the reader: it counts anew
				told = r.Count(t.Context())
				if ok {
					told++
				}
			}
			if !ok {
				break
			}
			told--
			if !missed && r.Count(t.Context()) != before-1 {
				t.Fatalf("seed %d: %d lines were ahead, and after one of them %d", seed, before, r.Count(t.Context()))
			}
		}
		if told != 0 || r.Count(t.Context()) != 0 {
			t.Fatalf("seed %d: %d lines were told and not handed out, %d are told now", seed, told, r.Count(t.Context()))
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkCount counts one line that waits.
func BenchmarkCount(b *testing.B) {
	s, err := journal.OpenSeries(journal.Config{Disk: disktest.New(), Dir: "/j", Base: journal.Base(journal.Live), Lane: journal.Live, CutSize: 1 << 40}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	var batch [][]byte
	for i := range 100_000 {
		batch = append(batch, fmt.Appendf(nil, "%0200d\n", i))
	}
	if _, _, err := s.Append(batch...); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := journal.NewReader(s.Folder(), journal.Base(journal.Live), journal.Pos{}, s, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		if n := r.Count(b.Context()); n != int64(len(batch)) {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/line")
}
