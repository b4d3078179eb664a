// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/scan"
)

// TestShortRoomEmptiesTheCache, and nothing is remembered until there is room again.
func TestShortRoomEmptiesTheCache(t *testing.T) {
	c, err := Open(t.Context(), store.Disk{Pebble: vfs.NewMem()}, "/", 1000*time.Hour, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() { _ = c.Run(t.Context()) }()
	sum := func(i int) [32]byte { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))) }
	there := func(i int) bool { _, ok := c.Get("s", "v", sum(i), time.Hour); return ok }
	until := func(what string, f func() bool) {
		t.Helper()
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		for late := time.After(5 * time.Minute); !f(); {
			select {
			case <-look.C:
			case <-late:
				t.Fatal(what)
			}
		}
	}
	const n = 10_000
	for i := range n {
		if err := c.DB.Set(cacheKey("s", "v", sum(i)), encodeCached(time.Now(), scan.Answer{Verdict: scan.Clean}), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.DB.Flush(); err != nil {
		t.Fatal(err)
	}
	if c.Short(false); !there(0) || !there(n-1) || c.size() < 100<<10 {
		t.Fatalf("with enough room: %d bytes", c.size())
	}
	until("not emptied", func() bool { return c.Short(true) })
	if there(0) || there(n-1) || c.size() > 10<<10 {
		t.Errorf("emptied: %d bytes", c.size())
	}
	c.Put("s", "v", sum(1), scan.Answer{Verdict: scan.Clean})
	c.Short(false)
	c.Put("s", "v", sum(2), scan.Answer{Verdict: scan.Clean})
	until("nothing is remembered with room", func() bool { return there(2) })
	if there(1) {
		t.Error("remembered while room was short")
	}
}
