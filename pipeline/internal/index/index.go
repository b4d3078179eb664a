// SPDX-License-Identifier: Apache-2.0

package index

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// Index knows what has been journaled: path to version. It is rebuildable: one
// that will not open is renamed aside, and a sweep follows; that costs repeated
// pushes, never a lost one.
//
// Keys, big endian; H is the first 8 bytes of SHA-256 over a random key that
// lies beside the index and the text, for names are an attacker's:
//
//	'f' H(folder) H(name)   one file
//	'd' H(folder)           the folder's path, so that folders that are gone are forgotten
//	'm' lane                mark: the journal's lane is in the index up to here (SEGMENT:OFFSET)
//	't' H(tree)             the device of the tree's root, as text
//
// The value of a file, 65 bytes:
//
//	| 0      7 | 8      15 | 16      19 | 20   27 | 28      35 | 36      39 | 40   47 | 48  | 49      56 | 57     64 |
//	| size     | mtime sec | mtime nsec | inode   | ctime sec  | ctime nsec | dev     | lane| segment    | offset    |
type Index struct {
	*store.Store
	key []byte

	mu      sync.Mutex
	durable map[string]journal.Pos // marks as of the last synced batch
	latest  map[string]journal.Pos // marks as of the last batch
}

const valueLen = 65

// Entry is what the index knows of one file.
type Entry struct {
	Stat watch.Stat
	At   sample.At
}

func (e Entry) encode() []byte {
	b := make([]byte, 0, valueLen)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Stat.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Stat.Mtime.Sec))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Stat.Mtime.Nsec))
	b = binary.BigEndian.AppendUint64(b, e.Stat.Inode)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Stat.Ctime.Sec))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Stat.Ctime.Nsec))
	b = binary.BigEndian.AppendUint64(b, e.Stat.Dev)
	lane := byte(0)
	if e.At.Lane == journal.Backlog {
		lane = 1
	}
	b = append(b, lane)
	b = binary.BigEndian.AppendUint64(b, e.At.Segment)
	return binary.BigEndian.AppendUint64(b, uint64(e.At.Offset))
}

func decodeEntry(b []byte) (Entry, bool) {
	if len(b) != valueLen {
		return Entry{}, false
	}
	be := binary.BigEndian
	e := Entry{
		Stat: watch.Stat{
			Size:  int64(be.Uint64(b)),
			Mtime: watch.Time{Sec: int64(be.Uint64(b[8:])), Nsec: int32(be.Uint32(b[16:]))},
			Inode: be.Uint64(b[20:]),
			Ctime: watch.Time{Sec: int64(be.Uint64(b[28:])), Nsec: int32(be.Uint32(b[36:]))},
			Dev:   be.Uint64(b[40:]),
		},
		At: sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: be.Uint64(b[49:]), Offset: int64(be.Uint64(b[57:]))}},
	}
	if b[48] == 1 {
		e.At.Lane = journal.Backlog
	}
	return e, true
}

func (x *Index) hash(b []byte, text string) []byte {
	h := sha256.New()
	h.Write(x.key)
	h.Write([]byte(text))
	var sum [32]byte
	return append(b, h.Sum(sum[:0])[:8]...)
}

func (x *Index) folderKey(folder string) []byte {
	return x.hash(append(make([]byte, 0, 17), 'f'), folder)
}

func (x *Index) fileKey(path string) []byte {
	folder, name := filepath.Split(path)
	return x.hash(x.folderKey(filepath.Clean(folder)), name)
}

// Get returns what is known of path.
func (x *Index) Get(path string) (Entry, bool, error) {
	b, done, err := x.DB.Get(x.fileKey(path))
	if errors.Is(err, pebble.ErrNotFound) {
		return Entry{}, false, nil
	}
	if err != nil {
		return Entry{}, false, fmt.Errorf("read index: %w", err)
	}
	defer done.Close()
	e, ok := decodeEntry(b)
	return e, ok, nil
}

// Noted is one journaled file.
type Noted struct {
	Path string
	Stat watch.Stat
	At   journal.Pos
}

// Note enters files whose lines are durable, and moves the lane's mark to upto.
//
// A crash before the batch is on disk: the mark lags, and at the next start the
// journal's tail is read into the index before any sweep.
func (x *Index) Note(ctx context.Context, lane string, files []Noted, upto journal.Pos) error {
	b := x.DB.NewBatch()
	folders := map[string]bool{}
	for _, n := range files {
		if err := b.Set(x.fileKey(n.Path), Entry{n.Stat, sample.At{Lane: lane, Pos: n.At}}.encode(), nil); err != nil {
			return fmt.Errorf("note in index: %w", err)
		}
		folders[filepath.Dir(n.Path)] = true
	}
	for folder := range folders {
		key := x.folderKey(folder)
		key[0] = 'd'
		if err := b.Set(key, []byte(folder), nil); err != nil {
			return fmt.Errorf("note in index: %w", err)
		}
	}
	if err := b.Set([]byte("m"+lane), []byte(upto.String()), nil); err != nil {
		return fmt.Errorf("note in index: %w", err)
	}
	if err := x.Do(ctx, func() error { return b.Commit(pebble.NoSync) }); err != nil {
		return fmt.Errorf("note in index: %w", err)
	}
	x.mu.Lock()
	x.latest[lane] = upto
	x.mu.Unlock()
	return nil
}

// Marks returns up to where each lane is in the index, on disk.
func (x *Index) Marks() map[string]journal.Pos {
	x.mu.Lock()
	defer x.mu.Unlock()
	return map[string]journal.Pos{journal.Live: x.durable[journal.Live], journal.Backlog: x.durable[journal.Backlog]}
}

// Noted returns up to where each lane is in the index, on disk or not.
func (x *Index) Noted() map[string]journal.Pos {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.latest)
}

// Sync makes durable what was noted, and with it the marks.
func (x *Index) Sync(ctx context.Context) error {
	x.mu.Lock()
	live, backlog := x.latest[journal.Live], x.latest[journal.Backlog]
	same := x.durable[journal.Live] == live && x.durable[journal.Backlog] == backlog
	x.mu.Unlock()
	if same {
		return nil
	}
	if err := x.Persist(ctx); err != nil {
		return err
	}
	x.mu.Lock()
	x.durable[journal.Live], x.durable[journal.Backlog] = live, backlog
	x.mu.Unlock()
	return nil
}

// Persist makes durable all that was written.
func (x *Index) Persist(ctx context.Context) error {
	if err := x.Do(ctx, func() error { return x.DB.LogData(nil, pebble.Sync) }); err != nil {
		return fmt.Errorf("sync index: %w", err)
	}
	return nil
}

// listed is one file of a folder as a sweep found it.
type listed struct {
	name string
	Stat watch.Stat
	hash []byte // of the name
}

// Visit holds a chunk of a folder's files against the index with one range and
// calls fresh for each that is unknown in this version. It returns the hashes of
// the chunk's names, to find later which known ones are gone.
func (x *Index) Visit(folder string, files []watch.Entry, seen []uint64, fresh func(watch.Entry)) ([]uint64, error) {
	all := make([]listed, len(files))
	sums := make([]byte, 0, 8*len(files))
	for i, f := range files {
		sums = x.hash(sums, f.Name)
		all[i] = listed{name: f.Name, Stat: f.Stat, hash: sums[8*i:]}
		all[i].hash = all[i].hash[:8:8]
		seen = append(seen, binary.BigEndian.Uint64(all[i].hash))
	}
	slices.SortFunc(all, func(a, b listed) int { return bytes.Compare(a.hash, b.hash) })
	key := x.folderKey(folder)
	it, err := x.DB.NewIter(&pebble.IterOptions{LowerBound: key, UpperBound: after(key)})
	if err != nil {
		return seen, fmt.Errorf("read index: %w", err)
	}
	ok := it.First()
	for i, f := range all {
		// A few steps are cheaper than a seek; a chunk of a huge folder seeks.
		for step := 0; ok && bytes.Compare(it.Key()[9:], f.hash) < 0; step++ {
			if step < 16 {
				ok = it.Next()
			} else {
				ok = it.SeekGE(append(key[:9:9], f.hash...))
			}
		}
		if ok && bytes.Equal(it.Key()[9:], f.hash) {
			if e, good := decodeEntry(it.Value()); good && e.Stat.Same(f.Stat) {
				continue
			}
		}
		fresh(watch.Entry{Name: all[i].name, Stat: f.Stat})
	}
	if err := it.Close(); err != nil {
		return seen, fmt.Errorf("read index: %w", err)
	}
	return seen, nil
}

// after returns the least key above all keys that begin with prefix.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// Forget drops the files of a folder whose name hashes are not in seen: the
// folder was listed to its end and they were not there. What was journaled after
// since came meanwhile and stays.
func (x *Index) Forget(ctx context.Context, folder string, seen []uint64, since map[string]journal.Pos) (int, error) {
	slices.Sort(seen)
	key := x.folderKey(folder)
	return x.dropIf(ctx, key, after(key), func(key []byte, e Entry) bool {
		_, found := slices.BinarySearch(seen, binary.BigEndian.Uint64(key[9:]))
		return !found && e.At.Pos.Before(since[e.At.Lane])
	})
}

// ForgetLine drops path if it is known from the line at.
func (x *Index) ForgetLine(ctx context.Context, path string, at sample.At) error {
	if e, ok, err := x.Get(path); err != nil || !ok || e.At != at {
		return err
	}
	// A newer version that is noted just now goes with it: that costs a repeated push.
	if err := x.Do(ctx, func() error { return x.DB.Delete(x.fileKey(path), pebble.NoSync) }); err != nil {
		return fmt.Errorf("forget in index: %w", err)
	}
	return nil
}

// ForgetLines drops what is known from journal lines that cannot be read. It
// goes over the whole index, a second for three million files.
func (x *Index) ForgetLines(ctx context.Context, all []sample.Damage) error {
	_, err := x.dropIf(ctx, []byte{'f'}, []byte{'g'}, func(_ []byte, e Entry) bool {
		return slices.ContainsFunc(all, func(d sample.Damage) bool { return d.Holds(e.At) })
	})
	return err
}

// dropIf deletes the entries of a key range of which doomed says true.
func (x *Index) dropIf(ctx context.Context, from, to []byte, doomed func(key []byte, e Entry) bool) (int, error) {
	it, err := x.DB.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return 0, fmt.Errorf("read index: %w", err)
	}
	b := x.DB.NewBatch()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if e, good := decodeEntry(it.Value()); !good || doomed(it.Key(), e) {
			n++
			err = errors.Join(err, b.Delete(bytes.Clone(it.Key()), nil))
		}
	}
	if err = errors.Join(err, it.Close()); err == nil && n > 0 {
		err = x.Do(ctx, func() error { return b.Commit(pebble.NoSync) })
	}
	if err != nil {
		return 0, fmt.Errorf("forget in index: %w", err)
	}
	return n, nil
}

// ForgetFolders drops all that is known of folders below tree that are gone.
func (x *Index) ForgetFolders(ctx context.Context, tree string, gone func(folder string) bool) error {
	it, err := x.DB.NewIter(&pebble.IterOptions{LowerBound: []byte{'d'}, UpperBound: []byte{'e'}})
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		folder := string(it.Value())
		if !watch.Within(tree, folder) || !gone(folder) {
			continue
		}
		from := bytes.Clone(it.Key())
		from[0] = 'f'
		key := bytes.Clone(it.Key())
		err = errors.Join(err, x.Do(ctx, func() error {
			return errors.Join(x.DB.DeleteRange(from, after(from), pebble.NoSync), x.DB.Delete(key, pebble.NoSync))
		}))
	}
	if err = errors.Join(err, it.Close()); err != nil {
		return fmt.Errorf("forget in index: %w", err)
	}
	return nil
}

// Device returns the noted device of a tree's root; ok is false when none is.
func (x *Index) Device(tree string) (dev string, ok bool) {
	b, done, err := x.DB.Get(x.hash([]byte{'t'}, tree))
	if err != nil {
		return "", false
	}
	defer done.Close()
	return string(b), true
}

func (x *Index) SetDevice(ctx context.Context, tree, dev string) error {
	return x.Do(ctx, func() error { return x.DB.Set(x.hash([]byte{'t'}, tree), []byte(dev), pebble.NoSync) })
}

// Close leaves an index that cannot be written as it is: at the next start the
// journal's tail is read into it, or it is built anew. It lets go of its folder
// when the disk no longer refuses.
func (x *Index) Close() error {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	err := x.Sync(ctx)
	return errors.Join(err, x.Shut())
}
