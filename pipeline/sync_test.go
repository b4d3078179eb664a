// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pipeline

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// TestSyncFails for a while, with EIO, on the disk of the journal or the ledger. The
// service lives on and says what is wrong and where. The segment is sealed, and the
// lines that could not be synced are appended again. A power cut at the end loses
// nothing.
func TestSyncFails(t *testing.T) {
	for name, says := range map[string]string{"monitor.log": "intake is stopped", ledger.Base: "the ledger cannot be written"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, t.TempDir())
			var failing atomic.Bool
			var failed atomic.Int64
			r.files.Before = func(op disktest.Op) error {
				if failing.Load() && op.Kind == "sync" && filepath.Base(op.Path) == name {
					failed.Add(1)
					return syscall.EIO
				}
				return nil
			}
			r.run(func(p *Pipeline) {
				r.allEnded(p, 0) // from now on events tell of files: they go to the live lane
				r.put(p, 0, 2)
				failing.Store(true)
				r.drops(2, 3)
				waitFor(t, "Ready to say it", func() bool {
					err := p.Ready()
					return err != nil && strings.Contains(err.Error(), says) && strings.Contains(err.Error(), name) && strings.Contains(err.Error(), "input/output error")
				})
				waitFor(t, "several attempts", func() bool { return failed.Load() >= 3 })
				if n := r.told.size(); n != 2 {
					t.Errorf("%d outcomes, 2 could be recorded", n)
				}
				if p.Ready() == nil {
					t.Error("ready between two attempts")
				}
				failing.Store(false)
				r.allEnded(p, 5)
				waitFor(t, "ready", func() bool { return p.Ready() == nil })
			})
			folder := map[bool]string{true: "ledger", false: "journal"}[name == ledger.Base]
			dir, err := r.files.OpenFolder(filepath.Join(rigState, folder))
			must(t, err)
			names, err := journal.Segments(dir, name)
			must(t, err)
			if len(names) < 2 {
				t.Errorf("the segment was not sealed: %q", names)
			}
			left := cut{op: disktest.Op{Kind: "end"}, files: r.files.Cut(0), store: r.store.CrashClone(vfs.CrashCloneCfg{}), recorded: r.told.all()}
			for _, w := range left.check(t, r.drop, patience) {
				t.Error(w)
			}
		})
	}
}

// TestAStopDoesNotWaitForTheDisk that refuses the writes of closing a store. The store
// lets go of its folder when the disk no longer refuses.
func TestAStopDoesNotWaitForTheDisk(t *testing.T) {
	t.Parallel()
	var failing atomic.Bool
	d := store.Disk{Pebble: errorfs.Wrap(vfs.NewCrashableMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.ENOSPC
		}
		return nil
	}))}
	log := slog.New(slog.DiscardHandler)
	s, err := store.Open(t.Context(), d, "store", log, false)
	must(t, err)
	must(t, s.DB.Set([]byte("a"), []byte("b"), pebble.NoSync))
	failing.Store(true)
	ended := make(chan error, 1)
	go func() { ended <- s.Shut() }()
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("closed on a disk that refuses: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the stop waits for the disk")
	}
	if _, err := store.Open(t.Context(), d, "store", log, false); !errors.Is(err, store.ErrHeld) {
		t.Errorf("opened while it is held: %v", err)
	}
	failing.Store(false)
	waitFor(t, "the folder", func() bool {
		s, err := store.Open(t.Context(), d, "store", log, false)
		return err == nil && s.Shut() == nil
	})
}
