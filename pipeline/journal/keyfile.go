// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
)

// The keys of a sealed segment say at which offsets the lines lie that hold a key. So a
// look does not read the whole segment. The keys are a file beside it:
//
//	sealed    monitor.log.20261122-2359.log
//	keys      monitor.log.20261122-2359.keys
//
// The file has blocks of 4,096 bytes; numbers are little-endian. The first block:
//
//	| 0        7 | 8              15 | 16            23 | 24    27 | 28  43 | 44 ... 4091 | 4092  4095 |
//	| "certkey1" | size of the seg-  | its mtime, unix  | blocks   | salt   | 0           | CRC-32C    |
//	|            | ment              | nanoseconds      | after it |        |             |            |
//
// Each block after it:
//
//	| 0   7 | 8  15 | ... 511 entries at most, then 0 | 4088         4091 | 4092  4095 |
//	| entry | entry |                                 | number of entries | CRC-32C    |
//
// An entry is HASH << 32 | OFFSET. HASH is the first 4 bytes, big-endian, of SHA-256
// over salt and key. OFFSET is where the line begins. Entries are in ascending order,
// and only the last block has fewer than 511. The salt is random, because an attacker
// chooses the names: many names with one hash would make a look slow.
//
// No promise rests on keys. If they are missing or damaged, or do not fit the segment's
// size and mtime, the segment is read whole. Keys that are missing or do not fit are
// made anew.
const (
	keysEnd    = ".keys"
	keysMagic  = "certkey1"
	keysBlock  = 4096
	saltSize   = 16
	keysIn     = (keysBlock - 8) / 8 // entries in a block
	maxEntries = 4 << 20             // of one segment, 32 MiB; a segment with more is read whole

	sortedAtOnce = 384 << 10 // entries in memory at once, about 3 MiB
)

// KeysFrom is the least size, in bytes, of a segment that gets keys. A smaller segment
// is read whole as fast.
const KeysFrom = 64 << 10

// KeysOf calls add for each key by which line can be looked up. line may be used until
// KeysOf returns, and key until add returns.
type KeysOf func(line []byte, add func(key []byte))

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// keysName returns the name of a sealed segment's keys.
func keysName(segment string) string { return strings.TrimSuffix(segment, ".log") + keysEnd }

// IsKeys reports whether name is that of the keys of a segment of base.
func IsKeys(base, name string) bool {
	segment, ok := strings.CutSuffix(name, keysEnd)
	return ok && IsSealed(base, segment+".log")
}

// openSealed opens a segment and returns its size and mtime.
func openSealed(d Folder, segment string) (File, fs.FileInfo, error) {
	f, err := d.Open(segment, os.O_RDONLY)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("stat segment %s: %w", segment, err), f.Close())
	}
	return f, st, nil
}

// HasKeys reports whether a sealed segment has keys that fit it, or needs none.
func HasKeys(d Folder, segment string) (bool, error) {
	f, st, err := openSealed(d, segment)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if st.Size() < KeysFrom {
		return true, nil
	}
	k := openKeys(d, segment, st)
	if k == nil {
		return false, nil
	}
	return true, k.f.Close()
}

// SaveKeys writes the keys of a sealed segment. If it has more than maxEntries, or is
// too large for an offset of 32 bits, its keys hold no entry, and it is read whole.
//
// SaveKeys reads the segment several times and sorts one part of the entries each time.
// So the memory that it needs does not depend on the segment.
//
// A crash here leaves no keys, the old ones or the new ones, whole.
func SaveKeys(ctx context.Context, d Folder, segment string, of KeysOf) error {
	f, st, err := openSealed(d, segment)
	if err != nil {
		return err
	}
	defer f.Close()
	each := func(add func(key []byte, offset int64)) error {
		return Find(ctx, d, Segment{Name: segment}, nil, func(offset int64, line []byte) error {
			of(line, func(key []byte) { add(key, offset) })
			return nil
		})
	}
	n := 0
	if err := each(func([]byte, int64) { n++ }); err != nil {
		return err
	}
	w := &keysWriter{of: st, blocks: uint32((n + keysIn - 1) / keysIn)}
	rand.Read(w.salt[:]) // never fails
	parts := uint64(n/sortedAtOnce + 1)
	if n > maxEntries || st.Size() > math.MaxUint32 {
		w.blocks, parts = math.MaxUint32, 0
	}
	return save(d, keysName(segment), func(to io.Writer) error {
		if err := w.begin(to); err != nil {
			return err
		}
		entries := make([]uint64, 0, min(n, sortedAtOnce+sortedAtOnce/8))
		for part := range parts {
			entries = entries[:0]
			if err := each(func(key []byte, offset int64) {
				if h := uint64(hashOf(w.salt, key)); h*parts>>32 == part {
					entries = append(entries, h<<32|uint64(offset))
				}
			}); err != nil {
				return err
			}
			slices.Sort(entries)
			for _, e := range entries {
				if err := w.add(e); err != nil {
					return err
				}
			}
		}
		return w.end()
	})
}

func hashOf(salt [saltSize]byte, key []byte) uint32 {
	b := make([]byte, 0, 512)
	sum := sha256.Sum256(append(append(b, salt[:]...), key...))
	return binary.BigEndian.Uint32(sum[:])
}

// keysWriter writes the blocks of a segment's keys.
type keysWriter struct {
	of     fs.FileInfo
	blocks uint32
	salt   [saltSize]byte

	w *bufio.Writer
	b [keysBlock]byte
	n int // entries in b
}

func (k *keysWriter) begin(to io.Writer) error {
	k.w = bufio.NewWriterSize(to, 16*keysBlock)
	copy(k.b[:], keysMagic)
	binary.LittleEndian.PutUint64(k.b[8:], uint64(k.of.Size()))
	binary.LittleEndian.PutUint64(k.b[16:], uint64(k.of.ModTime().UnixNano()))
	binary.LittleEndian.PutUint32(k.b[24:], k.blocks)
	copy(k.b[28:], k.salt[:])
	return k.write()
}

func (k *keysWriter) add(entry uint64) error {
	binary.LittleEndian.PutUint64(k.b[8*k.n:], entry)
	if k.n++; k.n < keysIn {
		return nil
	}
	return k.entries()
}

// entries writes a block of entries.
func (k *keysWriter) entries() error {
	binary.LittleEndian.PutUint32(k.b[keysBlock-8:], uint32(k.n))
	k.n = 0
	return k.write()
}

func (k *keysWriter) write() error {
	binary.LittleEndian.PutUint32(k.b[keysBlock-4:], crc32.Checksum(k.b[:keysBlock-4], castagnoli))
	_, err := k.w.Write(k.b[:])
	clear(k.b[:])
	return err
}

func (k *keysWriter) end() error {
	if k.n > 0 {
		if err := k.entries(); err != nil {
			return err
		}
	}
	return k.w.Flush()
}

// keys are the open keys of one segment.
type keys struct {
	f      File
	blocks uint32 // MaxUint32: they hold no entry, and the segment is read whole
	salt   [saltSize]byte
	b      [keysBlock]byte
}

// openKeys returns a segment's keys, or nil if there are none that fit its size and
// mtime. An error is not returned: no promise rests on keys.
func openKeys(d Folder, segment string, of fs.FileInfo) *keys {
	f, err := d.Open(keysName(segment), os.O_RDONLY)
	if err != nil {
		return nil
	}
	k := &keys{f: f}
	if !k.read(0) || string(k.b[:8]) != keysMagic ||
		binary.LittleEndian.Uint64(k.b[8:]) != uint64(of.Size()) ||
		binary.LittleEndian.Uint64(k.b[16:]) != uint64(of.ModTime().UnixNano()) {
		f.Close()
		return nil
	}
	k.blocks = binary.LittleEndian.Uint32(k.b[24:])
	copy(k.salt[:], k.b[28:])
	return k
}

// read reads block n into b; the first block is 0. It returns false if the block is not
// whole or its checksum is wrong.
func (k *keys) read(n uint64) bool {
	if got, err := k.f.ReadAt(k.b[:], int64(n)*keysBlock); err != nil && !(errors.Is(err, io.EOF) && got == keysBlock) {
		return false
	}
	return crc32.Checksum(k.b[:keysBlock-4], castagnoli) == binary.LittleEndian.Uint32(k.b[keysBlock-4:])
}

// in returns the entries of the block that read read last.
func (k *keys) in() []byte {
	return k.b[:8*min(binary.LittleEndian.Uint32(k.b[keysBlock-8:]), keysIn)]
}

// offsets appends to all the offsets of lines that may hold key. If ok is false the keys
// cannot be used, and the segment has to be read whole.
func (k *keys) offsets(all []int64, key []byte) (_ []int64, ok bool) {
	if k.blocks == math.MaxUint32 {
		return all, false
	}
	hash := hashOf(k.salt, key)
	want := uint64(hash) << 32
	// Find the first block whose last entry is not below want. The first probe is where
	// that block lies if hashes are evenly spread; the next ones close in from there.
	low, high := uint64(1), uint64(k.blocks)+1
	probe := 1 + uint64(hash)*uint64(k.blocks)>>32
	for step := uint64(1); low < high; step *= 2 {
		if !k.read(probe) || len(k.in()) == 0 {
			return all, false
		}
		in := k.in()
		if last := binary.LittleEndian.Uint64(in[len(in)-8:]); last < want {
			low = probe + 1
			probe = min(low+step-1, low+(high-low)/2)
		} else {
			high = probe
			probe = max(high-min(step, high), low+(high-low)/2)
		}
	}
	for n := low; n <= uint64(k.blocks); n++ {
		if !k.read(n) {
			return all, false
		}
		for in := k.in(); len(in) > 0; in = in[8:] {
			e := binary.LittleEndian.Uint64(in)
			if uint32(e>>32) > hash {
				return all, true
			}
			if e >= want {
				all = append(all, int64(uint32(e)))
			}
		}
	}
	return all, true
}

// FindKeys calls each for the lines of a sealed segment that may hold one of keys, the
// last line first, until each returns false. If the segment has no keys that can be
// used, ok is false and each was not called: the caller reads it by Find. If the
// segment is not there, the error wraps fs.ErrNotExist.
func FindKeys(ctx context.Context, d Folder, segment string, keys [][]byte, each func(offset int64, line []byte) (more bool)) (ok bool, err error) {
	f, st, err := openSealed(d, segment)
	if err != nil {
		return false, err
	}
	defer f.Close()
	k := openKeys(d, segment, st)
	if k == nil {
		return false, nil
	}
	defer k.f.Close()
	var all []int64
	for _, key := range keys {
		if all, ok = k.offsets(all, key); !ok {
			return false, nil
		}
	}
	slices.Sort(all)
	for _, offset := range slices.Backward(slices.Compact(all)) {
		if err := ctx.Err(); err != nil {
			return true, err
		}
		line, whole, err := lineAt(f, segment, offset)
		if err != nil {
			return true, err
		}
		if whole && !each(offset, line) {
			break
		}
	}
	return true, nil
}
