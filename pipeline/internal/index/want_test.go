// SPDX-License-Identifier: Apache-2.0

//go:build unix

package index

import (
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/watch"
)

// TestWantIsNoDamage: whichever operation of an open fails for want of descriptors,
// memory or rights, the index stays where it is, and is whole when there is enough again.
func TestWantIsNoDamage(t *testing.T) {
	var at, n atomic.Int64
	var want error
	files := vfs.NewMem()
	d := store.Disk{Disk: disktest.New(), Pebble: errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsRead && n.Add(1) == at.Load() {
			return &fs.PathError{Op: "open", Path: op.Path, Err: want}
		}
		return nil
	}))}
	log := slog.New(slog.DiscardHandler)
	noted := journal.Pos{Segment: 3, Offset: 700}
	x, err := Open(t.Context(), d, "/state/index", log)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Note(t.Context(), journal.Live, []Noted{{Path: "/srv/a", Stat: watch.Stat{Size: 1}, At: journal.Pos{Segment: 3}}}, noted); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	wants := []error{syscall.EMFILE, syscall.EACCES, syscall.ENOMEM, syscall.EAGAIN, syscall.EPERM, syscall.ENFILE}
	for nth := int64(1); ; nth++ {
		want = wants[nth%int64(len(wants))]
		n.Store(0)
		at.Store(nth)
		x, err := Open(t.Context(), d, "/state/index", log)
		at.Store(0)
		if n.Load() < nth {
			if err != nil || x.Marks()[journal.Live] != noted || x.Close() != nil || nth < 5 {
				t.Fatalf("without a fault, after %d operations: %v", nth-1, err)
			}
			return
		}
		if err == nil {
			err = x.Close()
		} else if !errors.Is(err, want) && !errors.Is(err, store.ErrHeld) {
			t.Errorf("%v at operation %d is told as %v", want, nth, err)
		}
		names, _ := files.List("/state")
		if len(names) != 1 || strings.Contains(strings.Join(names, " "), "broken") {
			t.Fatalf("%v at operation %d (%v): %q", want, nth, err, names)
		}
	}
}
