// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func sumOf(i int) [32]byte { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))) }

// TestWhatCannotBeForgottenIsNotRemembered: a block of the cache is bad when the cleans of an
// address are to be forgotten. That is said, and no verdict comes from the cache any more.
func TestWhatCannotBeForgottenIsNotRemembered(t *testing.T) {
	var bad atomic.Bool
	mem := vfs.NewMem()
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if bad.Load() && strings.HasSuffix(op.Path, ".sst") && op.Kind == errorfs.OpFileReadAt {
			return errors.New("a block is bad")
		}
		return nil
	}))
	open := func() *Cache {
		c, err := Open(t.Context(), store.Disk{Pebble: fs}, "/c", 1000*time.Hour, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open()
	for i := range 100000 {
		if err := c.DB.Set(cacheKey("s", "v", sumOf(i)), encodeCached(time.Now(), scan.Answer{Verdict: scan.Clean, Address: "a"}), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.DB.Flush(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	c = open()
	defer func() { c.Close() }()
	go func() { _ = c.Run(t.Context()) }()
	if err := c.Void(t.Context(), "nobody"); err != nil { // Run is past its start
		t.Fatal(err)
	}
	bad.Store(true)
	if err := c.Void(t.Context(), "a"); err == nil {
		t.Error("it is forgotten, although it cannot be read")
	}
	bad.Store(false)
	back := 0
	for i := range 100000 {
		if _, ok := c.Get("s", "v", sumOf(i), time.Hour); ok {
			back++
		}
	}
	if back > 0 {
		t.Errorf("%d cleans of the address are there after Void returned; damage %v", back, c.Damage())
	}
}
