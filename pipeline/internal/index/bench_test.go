// SPDX-License-Identifier: Apache-2.0

package index

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/watch"
)

// BenchmarkAmend amends 1,000 of 100,000 entries, as the hashes of a read of the ledger
// are noted. Their paths come in no order.
func BenchmarkAmend(b *testing.B) {
	const entries, batch = 100_000, 1000
	x, err := Open(b.Context(), store.Disk{Disk: disktest.New(), Pebble: vfs.NewMem()}, "/state/index", slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	paths := make([]string, entries)
	for i := range paths {
		paths[i] = fmt.Sprintf("/srv/samples/%d/%d", i/1000, i)
	}
	for at := 0; at < entries; at += batch {
		var files []Noted
		for _, path := range paths[at : at+batch] {
			files = append(files, Noted{Path: path, Stat: watch.Stat{Size: 1}, At: journal.Pos{Segment: 1, Offset: int64(at)}})
		}
		if err := x.Note(b.Context(), journal.Backlog, files, journal.Pos{Segment: 1, Offset: int64(at + 1)}); err != nil {
			b.Fatal(err)
		}
	}
	rand.Shuffle(entries, func(i, k int) { paths[i], paths[k] = paths[k], paths[i] })
	at := 0
	for b.Loop() {
		err := x.Amend(b.Context(), paths[at:at+batch], "", func(_ string, e Entry) (Entry, bool) {
			e.Sum[0]++
			return e, true
		})
		if err != nil {
			b.Fatal(err)
		}
		at = (at + batch) % entries
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/entry")
}
