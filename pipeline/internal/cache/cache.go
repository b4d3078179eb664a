// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/scan"
)

// Cache remembers verdicts over restarts: same SHA-256, same scanner, same key of
// it (scan.Scanner). Nothing rests on it: what it loses is asked once more.
//
// Key: the first 16 bytes of SHA-256 over scanner 0 scanner's key, then the
// sample's SHA-256. Value:
//
//	| 0                   7 | 8 ...                             |
//	| unix nanoseconds, BE  | verdict 0 signature               |
type Cache struct {
	*store.Store
	log     *slog.Logger
	longest time.Duration // of all scanners' cache
	puts    chan cached
}

// cached is a verdict to remember.
type cached struct {
	key  []byte
	text []byte
}

const (
	putsAtOnce  = 1024 // verdicts that wait to be written; more are not remembered
	expireEvery = time.Hour
)

// Open opens the cache in the state folder; longest is the most that a scanner's
// verdict holds. A cache that will not open is begun anew.
func Open(ctx context.Context, d store.Disk, state string, longest time.Duration, log *slog.Logger) (*Cache, error) {
	dir := filepath.Join(state, "cache")
	log = log.With("store", "cache")
	if st, err := d.Pebble.Stat(dir); err == nil && !st.IsDir() {
		aside := fmt.Sprintf("%s.foreign-%d", dir, time.Now().UnixNano())
		log.Error("a file that is none of ours lies where the cache of verdicts belongs; it is renamed aside: move it away", "file", aside)
		if err := d.Pebble.Rename(dir, aside); err != nil {
			return nil, fmt.Errorf("rename foreign file aside: %w", err)
		}
	}
	s, err := store.Open(ctx, d, dir, log, false)
	if err != nil && ctx.Err() == nil && !store.Refuses(err) && !errors.Is(err, store.ErrHeld) {
		log.Error("the cache of verdicts is begun anew: look at the disk", "folder", dir, "error", err)
		if err := d.Pebble.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("remove broken cache: %w", err)
		}
		s, err = store.Open(ctx, d, dir, log, false)
	}
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	return &Cache{Store: s, log: log, longest: longest, puts: make(chan cached, putsAtOnce)}, nil
}

func cacheKey(scanner, key string, sum [32]byte) []byte {
	h := sha256.Sum256([]byte(scanner + "\x00" + key))
	return append(h[:16:16], sum[:]...)
}

// Get returns what the scanner said of these bytes when it judged by key, at most
// age ago.
func (c *Cache) Get(scanner, key string, sum [32]byte, age time.Duration) (scan.Answer, bool) {
	if c.Damage() != nil {
		return scan.Answer{}, false
	}
	text, done, err := c.DB.Get(cacheKey(scanner, key, sum))
	if err != nil {
		return scan.Answer{}, false
	}
	defer done.Close()
	at, a, ok := decodeCached(text)
	old := time.Since(at)
	return a, ok && old >= 0 && old < age // a clock that jumped back makes it of no use
}

// Put remembers a verdict that was given by key, without waiting. What the scanner
// did not look into is not remembered: why it did not may depend on more than that.
func (c *Cache) Put(scanner, key string, sum [32]byte, a scan.Answer) {
	if a.Verdict != scan.Clean && a.Verdict != scan.Suspicious && a.Verdict != scan.Malicious {
		return
	}
	select {
	case c.puts <- cached{cacheKey(scanner, key, sum), encodeCached(time.Now(), a)}:
	default:
	}
}

func encodeCached(at time.Time, a scan.Answer) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano()))
	return append(b, string(a.Verdict)+"\x00"+a.Signature...)
}

func decodeCached(b []byte) (at time.Time, a scan.Answer, ok bool) {
	if len(b) < 8 {
		return at, a, false
	}
	verdict, signature, ok := strings.Cut(string(b[8:]), "\x00")
	a = scan.Answer{Verdict: scan.Verdict(verdict), Signature: signature}
	ok = ok && (a.Verdict == scan.Clean || a.Verdict == scan.Suspicious || a.Verdict == scan.Malicious)
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))), a, ok
}

// Run writes what put brought, and drops what is too old, until ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	every := time.NewTicker(expireEvery)
	defer every.Stop()
	c.expire(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			c.expire(ctx)
		case p := <-c.puts:
			err := c.Do(ctx, func() error { return c.DB.Set(p.key, p.text, pebble.NoSync) })
			if err != nil && ctx.Err() == nil {
				c.log.Debug("a verdict is not remembered", "error", err)
			}
		}
	}
}

func (c *Cache) expire(ctx context.Context) {
	if c.Damage() != nil {
		return
	}
	it, err := c.DB.NewIter(nil)
	if err != nil {
		return // told by the store
	}
	b := c.DB.NewBatch()
	for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
		at, _, good := decodeCached(it.Value())
		if old := time.Since(at); !good || old > c.longest || old < 0 {
			err = errors.Join(err, b.Delete(it.Key(), nil))
		}
	}
	if err = errors.Join(err, it.Close()); err == nil {
		err = c.Do(ctx, func() error { return b.Commit(pebble.NoSync) })
	}
	if err != nil && ctx.Err() == nil {
		c.log.Warn("the cache of verdicts cannot drop what is too old; it is tried again each hour: look at its disk", "error", err)
	}
}

// Close keeps what was put so far.
func (c *Cache) Close() error {
	for c.Damage() == nil && c.Stalled() == nil {
		select {
		case p := <-c.puts:
			if err := c.DB.Set(p.key, p.text, pebble.NoSync); err != nil {
				return errors.Join(err, c.Shut())
			}
			continue
		default:
		}
		break
	}
	return c.Shut()
}
