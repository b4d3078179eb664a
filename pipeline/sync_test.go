// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pipeline

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// TestSyncFails for a while, with EIO, where the journal or the ledger lies: the
// service lives and says what and where, the segment is sealed, and what could
// not be synced is appended anew. A power cut at the end loses nothing.
func TestSyncFails(t *testing.T) {
	for name, says := range map[string]string{"monitor.log": "intake is stopped", ledgerBase: "the ledger cannot be written"} {
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
				r.settled(p, 0) // what comes now is told by events: the live lane's
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
				r.settled(p, 5)
				waitFor(t, "ready", func() bool { return p.Ready() == nil })
			})
			folder := map[bool]string{true: "ledger", false: "journal"}[name == ledgerBase]
			dir, err := r.files.OpenFolder(filepath.Join(rigState, folder))
			must(t, err)
			names, err := journal.Segments(dir, name)
			must(t, err)
			if len(names) < 2 {
				t.Errorf("the segment was not sealed: %q", names)
			}
			left := cut{op: disktest.Op{Kind: "end"}, files: r.files.Cut(0), store: r.store.CrashClone(vfs.CrashCloneCfg{}), recorded: r.told.all()}
			for _, w := range left.check(t, r.drop) {
				t.Error(w)
			}
		})
	}
}
