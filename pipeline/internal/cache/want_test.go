// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cache

import (
	"crypto/sha256"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/scan"
)

// TestWantIsNoDamage: for want of descriptors the cache is not begun anew.
func TestWantIsNoDamage(t *testing.T) {
	var wants atomic.Bool
	d := store.Disk{Pebble: errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if wants.Load() && op.Kind == errorfs.OpOpen {
			return &fs.PathError{Op: "open", Path: op.Path, Err: syscall.EMFILE}
		}
		return nil
	}))}
	log := slog.New(slog.DiscardHandler)
	sum := sha256.Sum256([]byte("bytes"))
	c, err := Open(t.Context(), d, "/state", time.Hour, log)
	if err != nil {
		t.Fatal(err)
	}
	c.Put("clamav", "1", sum, scan.Answer{Verdict: scan.Clean})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	wants.Store(true)
	if _, err := Open(t.Context(), d, "/state", time.Hour, log); !store.Hinders(err) {
		t.Errorf("without descriptors: %v", err)
	}
	wants.Store(false)
	if c, err = Open(t.Context(), d, "/state", time.Hour, log); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, ok := c.Get("clamav", "1", sum, time.Hour); !ok {
		t.Error("the verdict is forgotten")
	}
}
