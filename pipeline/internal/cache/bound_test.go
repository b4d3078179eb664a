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

// TestTheCacheHasABound: beyond it the older half of the verdicts is forgotten, and the
// disk has the room back. Below it nothing is.
func TestTheCacheHasABound(t *testing.T) {
	c, err := Open(t.Context(), store.Disk{Pebble: vfs.NewMem()}, "/", 1000*time.Hour, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const n = 10_000
	sum := func(i int) [32]byte { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))) }
	now := time.Now()
	for i := range n { // a second apart
		at := now.Add(-time.Duration(n-i) * time.Second)
		if err := c.DB.Set(cacheKey("s", "v", sum(i)), encodeCached(at, scan.Answer{Verdict: scan.Clean, Address: "a"}), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.DB.Flush(); err != nil {
		t.Fatal(err)
	}
	there := func() (old, young int) {
		for i := range n {
			if _, ok := c.Get("s", "v", sum(i), 1000*time.Hour); ok && i < n/2-120 {
				old++
			} else if ok && i >= n/2+120 {
				young++
			}
		}
		return old, young
	}
	const edge = 240
	c.bound(t.Context())
	if old, young := there(); old+young != n-edge {
		t.Errorf("below the bound: %d and %d are there", old, young)
	}
	was := c.size()
	c.most = was - 1
	c.bound(t.Context())
	if old, young := there(); old != 0 || young != (n-edge)/2 {
		t.Errorf("beyond the bound: %d of the older half and %d of the younger are there", old, young)
	}
	if is := c.size(); is > was*2/3 {
		t.Errorf("%d bytes before, %d after", was, is)
	}
}
