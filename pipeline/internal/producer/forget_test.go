// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/watch"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// resting returns a producer that does not run. Its tree has one file, which is
// journaled and noted. The cursor of its scanner is at the end of the journal.
func resting(t *testing.T) (p *Producer, path string) {
	t.Helper()
	tree, log := t.TempDir(), slog.New(slog.DiscardHandler)
	trees, err := config.FillTrees([]config.Tree{{Path: tree, Engine: "sweep"}})
	must(t, err)
	path = filepath.Join(tree, "a")
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	disk := store.Disk{Disk: disktest.New(), Pebble: vfs.NewMem()}
	lanes, err := journal.OpenLanes(journal.Config{Disk: disk, Dir: "/state/journal", CutSize: 500}, time.Minute, log)
	must(t, err)
	dirs, err := store.OpenFolders(disk, "/state", "/state/journal")
	must(t, err)
	p, err = New(t.Context(), Config{
		State: "/state", Trees: trees, Journal: config.Journal{Max: -1}, Scanners: []config.Scanner{{Name: "one"}},
		Disk: disk, Lanes: lanes, Cursors: dirs.Cursors, Metrics: NewMetrics(), Log: log,
	})
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(p.Close(), lanes.Close(), dirs.Close())) })
	st, err := watch.Lstat(path)
	must(t, err)
	for i := range 12 {
		s := sample.OfFile(fmt.Sprint("/elsewhere/", i), 1, watch.Time{})
		if i == 0 {
			s = sample.OfFile(path, st.Size, st.Mtime)
		}
		s.Seen, s.Via = time.Now(), sample.ViaSweep
		at, after, err := lanes.Lane(journal.Live).Append(sample.AppendLine(nil, s))
		must(t, err)
		must(t, p.index.Note(t.Context(), journal.Live, []index.Noted{{Path: s.Path, Stat: st, At: at}}, after))
	}
	must(t, p.index.Sync(t.Context()))
	must(t, journal.SaveCursor(dirs.Cursors, "one", journal.Live, journal.Cursor{Pos: lanes.Lane(journal.Live).Durable(), Sum: journal.SumOf(nil)}))
	return p, path
}

// TestNothingIsPrunedAheadOfTheIndexesMark, wherever the cursors are.
func TestNothingIsPrunedAheadOfTheIndexesMark(t *testing.T) {
	p, _ := resting(t)
	sealed := func() int {
		names, err := journal.Segments(p.lanes.Lane(journal.Live).Folder(), journal.Base(journal.Live))
		must(t, err)
		return len(names) - 1
	}
	before := sealed()
	none := p.pruner
	none.Marks = func() map[string]journal.Pos { return nil }
	if none.Prune(1); sealed() != before || before < 3 {
		t.Errorf("%d of %d segments are left ahead of the mark", sealed(), before)
	}
	if p.Prune(1); sealed() != 1 {
		t.Errorf("%d segments are left behind the mark", sealed())
	}
	p.pruner.Max = 1
	if p.Prune(100); sealed() != 0 {
		t.Errorf("%d segments are left, and they may have one byte", sealed())
	}
}

// TestNothingIsForgottenOfAFolderThatWasNotListed to its end, although the sweep saw
// none of its files.
func TestNothingIsForgottenOfAFolderThatWasNotListed(t *testing.T) {
	p, path := resting(t)
	list := func(err error) {
		s := &sweep{p: p, d: watch.Doubt{Under: filepath.Dir(path)}, folders: newFolders(), forget: true, sound: true, marks: ends(p.lanes)}
		must(t, s.folder(t.Context(), watch.Folder{Path: filepath.Dir(path), Last: true, Err: err}))
	}
	list(errors.New("test: not listed to its end"))
	if _, ok, err := p.index.Get(path); !ok || err != nil {
		t.Errorf("forgotten although its folder could not be listed: %v", err)
	}
	list(nil)
	if _, ok, err := p.index.Get(path); ok || err != nil {
		t.Errorf("known although its folder was listed without it: %v", err)
	}
}

// TestRequeueGivesUpItsClaims also if the intake stops in the middle. Otherwise an
// event of such a path would wait for ever.
func TestRequeueGivesUpItsClaims(t *testing.T) {
	p, path := resting(t)
	known := func(string) bool { p.gate.fail(errors.New("test: no room")); return false }
	if _, err := p.Requeue(t.Context(), []File{{0, path}, {0, path + "b"}}, known); err == nil {
		t.Error("it is queued while intake is stopped")
	}
	if p.claims.has(path) {
		t.Error("its path is claimed for ever")
	}
}
