// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/watch"
)

// TestTheIndexTellsTheMarkThatWasSynced: while the index is being synced more is noted.
// Then the journal is pruned up to the mark that the index returns. After a power cut
// the index must know all lines before that mark.
func TestTheIndexTellsTheMarkThatWasSynced(t *testing.T) {
	pebbles, files := vfs.NewCrashableMem(), disktest.New()
	var during func()
	d := store.Disk{Disk: files, Pebble: &asked{pebbles, func(op disktest.Op) error {
		if op.Kind == "store sync" && filepath.Ext(op.Path) == ".log" && during != nil {
			f := during
			during = nil
			f()
		}
		return nil
	}}}
	log := slog.New(slog.DiscardHandler)
	x, err := index.Open(t.Context(), d, "/index", log)
	must(t, err)
	note := func(n int64) {
		must(t, x.Note(t.Context(), journal.Live, []index.Noted{{Path: "/t/f", Stat: watch.Stat{Size: n}, At: pos(1, n)}}, pos(1, n+1)))
	}
	note(1)
	during = func() { note(2) }
	must(t, x.Sync(t.Context()))
	told := x.Marks()[journal.Live]
	if told == (journal.Pos{}) || during != nil {
		t.Fatalf("nothing was synced: %v", told)
	}
	left, err := index.Open(t.Context(), store.Disk{Disk: files, Pebble: pebbles.CrashClone(vfs.CrashCloneCfg{})}, "/index", log)
	must(t, err)
	if known := left.Noted()[journal.Live]; known.Before(told) {
		t.Errorf("the journal may be pruned up to %v, and after a power cut the index knows it up to %v", told, known)
	}
	must(t, left.Close())
	must(t, x.Close())
}
