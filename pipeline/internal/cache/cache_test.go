// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/scan"
)

// TestWhatIsVoidStaysVoidOverAPowerCut: an address turned out blind. What it called clean
// is forgotten, at once and over a power cut; what another address said is not.
func TestWhatIsVoidStaysVoidOverAPowerCut(t *testing.T) {
	disk := vfs.NewCrashableMem()
	open := func(d vfs.FS) (*Cache, func()) {
		ctx, stop := context.WithCancel(t.Context())
		c, err := Open(ctx, store.Disk{Pebble: d}, "/", time.Hour, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		var running sync.WaitGroup
		running.Go(func() { _ = c.Run(ctx) }) // it ends with ctx
		return c, func() {
			stop()
			running.Wait()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	sum := func(n byte) [32]byte { return [32]byte{n} }
	check := func(c *Cache, when string, want map[byte]bool) {
		t.Helper()
		for n, want := range want {
			if a, ok := c.Get("s", "version", sum(n), time.Hour); ok != want {
				t.Errorf("%s: %d is %+v, %v", when, n, a, ok)
			}
		}
	}
	c, end := open(disk)
	c.Put("s", "version", sum(1), scan.Answer{Verdict: scan.Clean, Address: "blind"})
	c.Put("s", "version", sum(2), scan.Answer{Verdict: scan.Clean, Address: "good"})
	c.Put("s", "version", sum(3), scan.Answer{Verdict: scan.Malicious, Signature: "x", Address: "blind"})
	end() // all of them are on disk
	c, end = open(disk)
	check(c, "at first", map[byte]bool{1: true, 2: true, 3: true})
	c.Void(t.Context(), "blind")
	c.Put("s", "version", sum(4), scan.Answer{Verdict: scan.Clean, Address: "blind"})
	for _, ok := c.Get("s", "version", sum(4), time.Hour); !ok && t.Context().Err() == nil; _, ok = c.Get("s", "version", sum(4), time.Hour) {
		c.Void(t.Context(), "nobody") // it writes what was put before
	}
	check(c, "now", map[byte]bool{1: false, 2: true, 3: true, 4: true})
	left := disk.CrashClone(vfs.CrashCloneCfg{})
	end()
	c, end = open(left)
	defer end()
	check(c, "after a power cut", map[byte]bool{1: false, 2: true, 3: true})
}
