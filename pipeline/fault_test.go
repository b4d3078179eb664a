// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pipeline

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// fault is the failure of one operation: the nth of its sort (sortOf).
type fault struct {
	sort string
	nth  int
	err  error
}

// faultsAtOnce is how many scenes run at the same time. They mostly wait for something
// that is tried again after half a second or one.
const faultsAtOnce = 16

// TestFaultAtEveryOperation lets each operation fail, once without and once with its
// effect. Each scene has two failures, far from each other. The service lives on, each
// file gets its outcome, and a power cut at the end loses nothing.
func TestFaultAtEveryOperation(t *testing.T) {
	inMemory(t)
	t.Parallel()
	first := newRig(t, t.TempDir())
	var all []fault
	nth := map[string]int{}
	for _, c := range first.cuts(first.scene, nothing, nil) {
		if c.op.Kind == "end" {
			continue
		}
		sort := sortOf(c.op)
		nth[sort]++
		all = append(all, fault{sort, nth[sort], syscall.EIO}, fault{sort, nth[sort], disktest.Applied{Err: syscall.ENOSPC}})
	}
	pairs := make(chan [2]fault, len(all))
	half := len(all) / 2
	for i := range half {
		pairs <- [2]fault{all[i], all[half+i]}
	}
	close(pairs)
	var fell atomic.Int64
	var wg sync.WaitGroup
	for range faultsAtOnce {
		wg.Go(func() {
			for both := range pairs {
				name := ""
				for _, f := range both {
					name += fmt.Sprintf(" %s %d %v", strings.ReplaceAll(f.sort, "/", "_"), f.nth, f.err)
				}
				t.Run(name[1:], func(t *testing.T) { fell.Add(underFaults(t, both[:])) })
			}
		})
	}
	wg.Wait()
	// The operations of a scene differ a little from run to run.
	if n := fell.Load(); n < int64(len(all))*9/10 {
		t.Errorf("%d operations failed of %d", n, len(all))
	}
}

// underFaults runs the scene and returns how many of the faults happened in it.
func underFaults(t *testing.T, faults []fault) (fell int64) {
	drop := t.TempDir()
	r := newRig(t, drop)
	r.faults = true
	var mu sync.Mutex
	nth := map[string]int{}
	r.each(func(op disktest.Op) error {
		mu.Lock()
		defer mu.Unlock()
		sort := sortOf(op)
		nth[sort]++
		for _, f := range faults {
			if f.sort == sort && f.nth == nth[sort] {
				fell++
				return f.err
			}
		}
		return nil
	})
	r.scene()
	mu.Lock()
	defer mu.Unlock()
	c := cut{op: disktest.Op{Kind: "end"}, files: r.files.Cut(0), store: r.store.CrashClone(vfs.CrashCloneCfg{}), recorded: r.told.all(), anew: strings.Contains(r.logged(), "built anew")}
	for _, w := range c.check(t, drop, patience) {
		t.Error(w)
	}
	return fell
}
