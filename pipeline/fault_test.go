// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// sort of an operation: all of one sort are alike to the program.
func sortOf(op disktest.Op) string {
	name := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, filepath.Base(op.Path))
	return op.Kind + " " + name
}

// TestFaultAtEverySortOfOperation has the first, a middle and the last operation
// of each sort fail, once without and once with effect. The service lives, every
// file gets its outcome, and a power cut at the end loses nothing.
func TestFaultAtEverySortOfOperation(t *testing.T) {
	sorts := map[string]int{}
	for _, c := range newRig(t, t.TempDir()).cuts(0, nil) {
		sorts[sortOf(c.op)]++
	}
	for _, sort := range slices.Sorted(maps.Keys(sorts)) {
		for _, nth := range slices.Compact([]int{1, (sorts[sort] + 1) / 2, sorts[sort]}) {
			for _, fault := range []error{syscall.EIO, disktest.Applied{Err: syscall.ENOSPC}} {
				name := fmt.Sprintf("%s/%d/%v", strings.ReplaceAll(sort, "/", "_"), nth, fault)
				if strings.HasPrefix(sort, "store") && !errors.Is(fault, syscall.EIO) {
					continue // Pebble's own disk fails without effect only
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					drop := t.TempDir()
					r := newRig(t, drop)
					r.faults = true
					var mu sync.Mutex
					n := 0
					r.each(func(op disktest.Op) error {
						if sortOf(op) != sort {
							return nil
						}
						mu.Lock()
						defer mu.Unlock()
						if n++; n == nth {
							return fault
						}
						return nil
					})
					r.scene()
					c := cut{disktest.Op{Kind: "end"}, r.files.Cut(0), r.store.CrashClone(vfs.CrashCloneCfg{}), nil, r.told.all()}
					for _, w := range c.check(t, drop) {
						t.Error(w)
					}
				})
			}
		}
	}
}
