// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/scan"
)

// Cache remembers verdicts over restarts. A verdict is found again by the same SHA-256,
// scanner and scanner's key (scan.Scanner). Nothing rests on the cache: for a verdict
// that it lost the scanner is asked again.
//
// Key: the first 16 bytes of SHA-256 over scanner 0 scanner's key, then the sample's
// SHA-256. Value:
//
//	| 0                   7 | 8 ...                               |
//	| unix nanoseconds, BE  | verdict 0 signature [ 0 address ]   |
//
// Without an address the scanner has none, or the value is of an older certpush.
//
// Beside them lies what the scanner said last of a file, by its name or by its inode, so
// that a file that was only touched, moved or copied over itself is not pushed again. Its
// key: the first 16 bytes of SHA-256 over scanner 0 "file", then the SHA-256 of what names
// the file. Its value goes on behind the address: 0 SHA-256 in hex 0 scanner's key.
type Cache struct {
	*store.Store
	log     *slog.Logger
	longest time.Duration // the longest of the scanners' cache settings
	most    int64         // bytes on disk
	puts    chan cached   // verdicts that Run writes
	voids   chan void     // what Run deletes
	off     atomic.Bool   // what is to be forgotten could not be: nothing is remembered any more
	room    room
}

// void is an order to delete what an address of a scanner called clean.
type void struct {
	address string
	done    chan error // told how that ended
}

// cached is a key and its value.
type cached struct {
	key  []byte
	text []byte
}

const (
	putsAtOnce  = 1024 // so many verdicts can wait to be written; more are not remembered
	expireEvery = time.Hour
	boundEvery  = time.Minute
	dropAtOnce  = 1 << 20             // bytes of a batch that deletes
	filesFor    = 30 * 24 * time.Hour // so long it is known what was said of a file
)

// Most is how many bytes the cache may have on disk. Beyond it the older half of the
// verdicts is forgotten.
const Most = 2 << 30

// Open opens the cache in the state folder. Verdicts older than longest are deleted. If
// the cache cannot be opened, Open begins an empty one. If something hinders that
// (store.Hinders), or this process still holds it (store.ErrHeld), Open returns that error
// and leaves the cache as it is.
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
	if err != nil && ctx.Err() == nil && !store.Hinders(err) && !errors.Is(err, store.ErrHeld) {
		log.Error("the cache of verdicts is begun anew: look at the disk", "folder", dir, "error", err)
		if err := d.Pebble.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("remove broken cache: %w", err)
		}
		s, err = store.Open(ctx, d, dir, log, false)
	}
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	return &Cache{Store: s, log: log, longest: longest, most: Most, puts: make(chan cached, putsAtOnce), voids: make(chan void), room: room{told: make(chan struct{}, 1)}}, nil
}

func cacheKey(scanner, key string, sum [32]byte) []byte {
	h := sha256.Sum256([]byte(scanner + "\x00" + key))
	return append(h[:16:16], sum[:]...)
}

// Get returns what the scanner said about these bytes when it judged by key. The
// verdict must be younger than age.
func (c *Cache) Get(scanner, key string, sum [32]byte, age time.Duration) (scan.Answer, bool) {
	if c.Damage() != nil || c.off.Load() {
		return scan.Answer{}, false
	}
	text, done, err := c.DB.Get(cacheKey(scanner, key, sum))
	if err != nil {
		return scan.Answer{}, false
	}
	defer done.Close()
	at, a, ok := decodeCached(text)
	old := time.Since(at)
	return a, ok && old >= 0 && old < age // if the clock jumped back, the age is not known
}

// Put remembers a verdict that was given by key. It does not wait: if too many verdicts
// wait, it drops this one. It remembers only clean, suspicious and malicious. Why a
// scanner did not look inside may depend on more than its key.
func (c *Cache) Put(scanner, key string, sum [32]byte, a scan.Answer) {
	if !rememberable(a.Verdict) || c.room.short.Load() {
		return
	}
	select {
	case c.puts <- cached{cacheKey(scanner, key, sum), encodeCached(time.Now(), a)}:
	default:
	}
}

func encodeCached(at time.Time, a scan.Answer) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano()))
	b = append(b, string(a.Verdict)+"\x00"+strings.ReplaceAll(a.Signature, "\x00", "")...)
	if a.Address != "" {
		b = append(b, "\x00"+a.Address...)
	}
	return b
}

// encodeFile is encodeCached for what was said of a file.
func encodeFile(at time.Time, j Judged) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano()))
	b = append(b, string(j.Answer.Verdict)+"\x00"+strings.ReplaceAll(j.Answer.Signature, "\x00", "")+"\x00"+j.Answer.Address+"\x00"...)
	b = hex.AppendEncode(b, j.SHA256[:])
	return append(append(b, 0), j.Key...)
}

// value is a value, taken apart.
type value struct {
	at     time.Time
	answer scan.Answer
	file   bool // it is of a file, and has what follows
	sum    [32]byte
	key    string
}

func rememberable(v scan.Verdict) bool {
	return v == scan.Clean || v == scan.Suspicious || v == scan.Malicious
}

func decodeValue(b []byte) (v value, ok bool) {
	if len(b) < 8 {
		return v, false
	}
	v.at = time.Unix(0, int64(binary.BigEndian.Uint64(b)))
	parts := strings.SplitN(string(b[8:]), "\x00", 5)
	if len(parts) < 2 || !rememberable(scan.Verdict(parts[0])) {
		return v, false
	}
	v.answer = scan.Answer{Verdict: scan.Verdict(parts[0]), Signature: parts[1]}
	if len(parts) > 2 {
		v.answer.Address = parts[2]
	}
	if v.file = len(parts) == 5; v.file {
		n, err := hex.Decode(v.sum[:], []byte(parts[3])[:min(len(parts[3]), 64)])
		v.key = parts[4]
		return v, err == nil && n == len(v.sum)
	}
	return v, len(parts) < 4
}

func decodeCached(b []byte) (at time.Time, a scan.Answer, ok bool) {
	v, ok := decodeValue(b)
	return v.at, v.answer, ok && !v.file
}

// Judged is what a scanner said last of a file.
type Judged struct {
	Key    string   // by which the scanner judged
	SHA256 [32]byte // of the bytes that it was handed
	Answer scan.Answer
}

// fileKey returns the key of a file that is named by name.
func fileKey(scanner, name string) []byte {
	return cacheKey(scanner, "file", sha256.Sum256([]byte(name)))
}

// GetFile returns what the scanner said last of the file that name names, if that is
// younger than filesFor.
func (c *Cache) GetFile(scanner, name string) (Judged, bool) {
	if c.Damage() != nil || c.off.Load() {
		return Judged{}, false
	}
	text, done, err := c.DB.Get(fileKey(scanner, name))
	if err != nil {
		return Judged{}, false
	}
	defer done.Close()
	v, ok := decodeValue(text)
	old := time.Since(v.at)
	return Judged{v.key, v.sum, v.answer}, ok && v.file && old >= 0 && old < filesFor
}

// PutFile remembers what the scanner said of a file, under each of its names. It does not
// wait: if too many verdicts wait, it drops this one.
func (c *Cache) PutFile(scanner string, j Judged, names ...string) {
	if !rememberable(j.Answer.Verdict) || c.room.short.Load() {
		return
	}
	for _, name := range names {
		select {
		case c.puts <- cached{fileKey(scanner, name), encodeFile(time.Now(), j)}:
		default:
		}
	}
}

// Run writes the verdicts of Put, and deletes old ones each hour, until ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	every, room := time.NewTicker(expireEvery), time.NewTicker(boundEvery)
	defer every.Stop()
	defer room.Stop()
	c.expire(ctx)
	c.bound(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			c.expire(ctx)
		case <-room.C:
			c.bound(ctx)
		case v := <-c.voids:
			c.void(ctx, v)
		case <-c.room.told:
			c.makeRoom(ctx)
		case p := <-c.puts:
			err := c.Do(ctx, func() error { return c.DB.Set(p.key, p.text, pebble.NoSync) })
			if err != nil && ctx.Err() == nil {
				c.log.Debug("a verdict is not remembered", "error", err)
			}
		}
	}
}

// Void forgets what an address called clean, of every scanner, and returns when that is
// durable or ctx ends. Verdicts that are put later are not touched. If it cannot be done
// nothing is remembered any more: the caller notes durably that the cache is to be removed
// before it is opened again.
func (c *Cache) Void(ctx context.Context, address string) error {
	v := void{address, make(chan error, 1)}
	select {
	case c.voids <- v:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-v.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Remove removes the cache in the state folder, which is not open.
func Remove(d store.Disk, state string) error {
	if err := d.Pebble.RemoveAll(filepath.Join(state, "cache")); err != nil {
		return fmt.Errorf("remove cache: %w", err)
	}
	return nil
}

// void does what Void asks for: first it writes the verdicts that were put before, so
// that none of them comes after.
func (c *Cache) void(ctx context.Context, v void) {
	for len(c.puts) > 0 {
		p := <-c.puts
		_ = c.Do(ctx, func() error { return c.DB.Set(p.key, p.text, pebble.NoSync) }) // what is not written is not remembered
	}
	err := c.drop(ctx, pebble.Sync, func(old value) bool { return old.answer.Verdict == scan.Clean && old.answer.Address == v.address })
	if err != nil && ctx.Err() == nil {
		c.off.Store(true)
	}
	v.done <- err
}

// expire deletes verdicts that are older than longest, lie in the future, or cannot be
// read.
func (c *Cache) expire(ctx context.Context) {
	c.tell(ctx, c.drop(ctx, pebble.NoSync, func(v value) bool {
		longest := c.longest
		if v.file {
			longest = filesFor
		}
		old := time.Since(v.at)
		return old > longest || old < 0
	}))
}

// tell logs that something cannot be dropped.
func (c *Cache) tell(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil && c.Damage() == nil {
		c.log.Warn("the cache of verdicts cannot drop what is too old; it is tried again each hour: look at its disk", "error", err)
	}
}

// behind is a key behind all.
var behind = bytes.Repeat([]byte{0xff}, 64)

// bound forgets the older half of the verdicts if the cache has more bytes than it may.
func (c *Cache) bound(ctx context.Context) {
	if c.Damage() != nil || c.size() <= c.most {
		return
	}
	ages, all := map[int64]int64{}, int64(0) // by the minute: bytes
	minute := func(v value) int64 { return v.at.Unix() / 60 }
	c.tell(ctx, c.drop(ctx, pebble.NoSync, func(v value) bool {
		n := int64(len(v.key) + len(v.answer.Signature) + len(v.answer.Address) + 100)
		ages[minute(v)] += n
		all += n
		return false
	}))
	from, left := int64(0), all
	for _, m := range slices.Sorted(maps.Keys(ages)) {
		if left <= all/2 {
			break
		}
		left -= ages[m]
		from = m + 1
	}
	c.tell(ctx, c.drop(ctx, pebble.NoSync, func(v value) bool { return minute(v) < from }))
	if err := c.Do(ctx, func() error { return c.DB.Compact(ctx, nil, behind, true) }); err != nil {
		if ctx.Err() == nil {
			c.log.Warn("the cache of verdicts has more bytes than it may, and cannot be made smaller; it is tried again each minute: look at its disk", "error", err)
		}
		return
	}
	c.log.Info("the cache of verdicts had more bytes than it may; the older half is forgotten", "most", c.most)
}

// size returns how many bytes the tables of the cache have. The log beside them is small.
func (c *Cache) size() int64 {
	all := c.DB.Metrics().Total()
	return all.TablesSize
}

// drop deletes the verdicts for which old returns true, and those that cannot be read.
func (c *Cache) drop(ctx context.Context, sync *pebble.WriteOptions, old func(value) bool) error {
	if err := c.Damage(); err != nil {
		return fmt.Errorf("forget verdicts: %w", err)
	}
	it, err := c.DB.NewIter(nil)
	if err != nil {
		return fmt.Errorf("forget verdicts: %w", err)
	}
	b := c.DB.NewBatch()
	for ok := it.First(); ok && ctx.Err() == nil && err == nil; ok = it.Next() {
		if v, good := decodeValue(it.Value()); good && !old(v) {
			continue
		}
		if err = b.Delete(it.Key(), nil); err == nil && b.Len() > dropAtOnce {
			err = c.Do(ctx, func() error { return b.Commit(pebble.NoSync) }) // the last one syncs them all
			b = c.DB.NewBatch()
		}
	}
	if err = errors.Join(err, it.Close()); err == nil {
		err = c.Do(ctx, func() error { return b.Commit(sync) })
	}
	if err == nil {
		err = ctx.Err() // it may not have come to the end
	}
	if err != nil {
		return fmt.Errorf("forget verdicts: %w", err)
	}
	return nil
}

// Close writes the verdicts that were put so far, unless the disk refuses, and closes
// the cache.
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
