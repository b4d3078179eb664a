// SPDX-License-Identifier: Apache-2.0

package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// Index knows the files that have been journaled: path to version. It can be rebuilt
// from the journal and a sweep. That costs repeated pushes, never a lost one.
//
// Keys, big endian. H is the first 8 bytes of SHA-256 over a random key, which lies
// beside the index, and the text. An attacker chooses names, and cannot choose hashes.
//
//	'f' H(folder) H(name)   one file
//	'd' H(folder)           the folder's path; by it a sweep forgets folders that are gone
//	'm' lane                mark: the place up to which the lane is in the index (SEGMENT:OFFSET)
//	't' H(tree)             the device of the tree's root, as text
//	'i' H(path)             the identity of the file system at a tree's root, or mounted below it
//	'n' H(tree)             how many folders its last whole sweep came to, as text
//	'o'                     the place in the ledger up to which its outcomes are noted, as a mark has it
//
// The value of a file, 65 bytes, or 98 if Bytes is not Plain:
//
//	| 0      7 | 8      15 | 16      19 | 20   27 | 28      35 | 36      39 | 40   47 | 48  | 49      56 | 57     64 | 65    | 66  97 |
//	| size     | mtime sec | mtime nsec | inode   | ctime sec  | ctime nsec | dev     | lane| segment    | offset    | Bytes | Sum    |
type Index struct {
	*store.Store
	keys keys

	// changing is held while entries are written or deleted, so that Amend changes none
	// that was written or deleted since it read it.
	changing sync.Mutex

	mu      sync.Mutex             // guards the fields below
	durable map[string]journal.Pos // by lane: the marks that are on disk
	latest  map[string]journal.Pos // by lane: the marks of the last batch, on disk or not
}

// Get returns the entry of path. The bool is false if the index does not know path.
func (x *Index) Get(path string) (Entry, bool, error) { return x.at(x.keys.file(path)) }

func (x *Index) at(key []byte) (Entry, bool, error) {
	b, done, err := x.DB.Get(key)
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

// Noted is one journaled file, and the place of its line.
type Noted struct {
	Path  string
	Stat  watch.Stat
	At    journal.Pos
	Bytes Bytes // Plain or Young
}

// Note adds files whose lines are durable, and moves the lane's mark to upto, in one
// batch. It does not wait until the batch is on disk: Sync does.
//
// A crash before it is on disk: the mark lags, and the next start reads the journal's
// tail into the index before any sweep.
func (x *Index) Note(ctx context.Context, lane string, files []Noted, upto journal.Pos) error {
	b := x.DB.NewBatch()
	folders := map[string]bool{}
	for _, n := range files {
		if err := b.Set(x.keys.file(n.Path), Entry{Stat: n.Stat, At: sample.At{Lane: lane, Pos: n.At}, Bytes: n.Bytes}.encode(), nil); err != nil {
			return fmt.Errorf("note in index: %w", err)
		}
		folders[filepath.Dir(n.Path)] = true
	}
	for folder := range folders {
		key := x.keys.folder(folder)
		key[0] = 'd'
		if err := b.Set(key, []byte(folder), nil); err != nil {
			return fmt.Errorf("note in index: %w", err)
		}
	}
	if err := b.Set([]byte("m"+lane), []byte(upto.String()), nil); err != nil {
		return fmt.Errorf("note in index: %w", err)
	}
	if err := x.change(ctx, func() error { return b.Commit(pebble.NoSync) }); err != nil {
		return fmt.Errorf("note in index: %w", err)
	}
	x.mu.Lock()
	x.latest[lane] = upto
	x.mu.Unlock()
	return nil
}

// change runs f, which writes or deletes entries.
func (x *Index) change(ctx context.Context, f func() error) error {
	return x.Do(ctx, func() error {
		x.changing.Lock()
		defer x.changing.Unlock()
		return f()
	})
}

// Amend calls each with the entry of each path that the index knows, and writes the entry
// that it returns. If each returns false, the entry stays. If upto is not "" it notes,
// in the same batch, that the ledger was read up to there. It does not wait until that is
// on disk: after a crash all may be as before.
func (x *Index) Amend(ctx context.Context, paths []string, upto string, each func(path string, e Entry) (Entry, bool)) error {
	keys := x.keys.inOrder(paths)
	err := x.change(ctx, func() error {
		b := x.DB.NewBatch()
		for _, k := range keys {
			path := k.path
			e, ok, err := x.at(k.key)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if e, ok = each(path, e); ok {
				if err := b.Set(k.key, e.encode(), nil); err != nil {
					return err
				}
			}
		}
		if upto != "" {
			if err := b.Set([]byte(outcomesKey), []byte(upto), nil); err != nil {
				return err
			}
		}
		return b.Commit(pebble.NoSync)
	})
	if err != nil {
		return fmt.Errorf("amend index: %w", err)
	}
	return nil
}

// outcomesKey is the key of the place in the ledger up to which Amend noted the outcomes.
const outcomesKey = "o"

// Outcomes returns the place in the ledger up to which the outcomes are noted. It is ""
// if none are, or it cannot be read: then some files may be pushed again.
func (x *Index) Outcomes() string {
	b, done, err := x.DB.Get([]byte(outcomesKey))
	if err != nil {
		return ""
	}
	defer done.Close()
	return string(b)
}

// Marks returns for each lane the place up to which the index on disk has it.
func (x *Index) Marks() map[string]journal.Pos {
	x.mu.Lock()
	defer x.mu.Unlock()
	return map[string]journal.Pos{journal.Live: x.durable[journal.Live], journal.Backlog: x.durable[journal.Backlog]}
}

// Noted returns for each lane the place up to which the index has it, on disk or not.
func (x *Index) Noted() map[string]journal.Pos {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.latest)
}

// Sync makes all notes durable, and with them the marks. It has one caller at a time.
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

// Persist makes all earlier writes durable.
func (x *Index) Persist(ctx context.Context) error {
	if err := x.Do(ctx, func() error { return x.DB.LogData(nil, pebble.Sync) }); err != nil {
		return fmt.Errorf("sync index: %w", err)
	}
	return nil
}

// Visit compares some files of a folder with the index. It calls fresh for each file
// that the index does not know in this version, or whose bytes are in doubt. It returns
// seen with the hashes of the files' names added, for Forget.
func (x *Index) Visit(folder string, files []watch.Entry, seen []uint64, same Same, fresh func(watch.Entry)) ([]uint64, error) {
	all := x.keys.listed(files)
	for _, f := range all {
		seen = append(seen, binary.BigEndian.Uint64(f.hash))
	}
	return seen, x.each(folder, all, func(f watch.Entry, e Entry, known bool) {
		if !known || !e.Knows(f.Stat, same) || e.InDoubt() {
			fresh(f)
		}
	})
}

// Entries calls each for each of some files of a folder, with what the index has of it in
// this version. known is false where it has nothing.
func (x *Index) Entries(folder string, files []watch.Entry, same Same, each func(f watch.Entry, e Entry, known bool)) error {
	return x.each(folder, x.keys.listed(files), func(f watch.Entry, e Entry, known bool) {
		each(f, e, known && e.Knows(f.Stat, same))
	})
}

// each calls call for each file of a folder, with its entry, whatever its version. known is
// false where the index has none.
func (x *Index) each(folder string, all []listed, call func(f watch.Entry, e Entry, known bool)) error {
	key := x.keys.folder(folder)
	it, err := x.DB.NewIter(&pebble.IterOptions{LowerBound: key, UpperBound: after(key)})
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	ok := it.First()
	for _, f := range all {
		// A few steps are cheaper than a seek. In a huge folder a seek is cheaper.
		for step := 0; ok && bytes.Compare(it.Key()[9:], f.hash) < 0; step++ {
			if step < 16 {
				ok = it.Next()
			} else {
				ok = it.SeekGE(append(key[:9:9], f.hash...))
			}
		}
		var e Entry
		known := ok && bytes.Equal(it.Key()[9:], f.hash)
		if known {
			e, known = decodeEntry(it.Value())
		}
		call(watch.Entry{Name: f.name, Stat: f.Stat}, e, known)
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	return nil
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

// Forget deletes the files of a folder whose name hashes are not in seen. The caller
// has listed the folder to its end, and they were not there. It keeps files whose lines
// lie at or after since in their lane: they came during the listing. It returns how
// many it deleted.
func (x *Index) Forget(ctx context.Context, folder string, seen []uint64, since map[string]journal.Pos) (int, error) {
	slices.Sort(seen)
	key := x.keys.folder(folder)
	return x.dropIf(ctx, key, after(key), func(key []byte, e Entry) bool {
		_, found := slices.BinarySearch(seen, binary.BigEndian.Uint64(key[9:]))
		return !found && e.At.Pos.Before(since[e.At.Lane])
	})
}

// ForgetLine deletes the entry of path if it names the line at.
func (x *Index) ForgetLine(ctx context.Context, path string, at sample.At) error {
	if e, ok, err := x.Get(path); err != nil || !ok || e.At != at {
		return err
	}
	// If a newer version is noted at this moment, it is deleted too: it is pushed
	// again.
	if err := x.change(ctx, func() error { return x.DB.Delete(x.keys.file(path), pebble.NoSync) }); err != nil {
		return fmt.Errorf("forget in index: %w", err)
	}
	return nil
}

// ForgetLines deletes the entries whose journal lines cannot be read. It reads the
// whole index: one second for three million files.
func (x *Index) ForgetLines(ctx context.Context, all []sample.Damage) error {
	_, err := x.dropIf(ctx, []byte{'f'}, []byte{'g'}, func(_ []byte, e Entry) bool {
		return slices.ContainsFunc(all, func(d sample.Damage) bool { return d.Holds(e.At) })
	})
	return err
}

// dropIf deletes the entries in a range of keys for which doomed returns true, and
// those that cannot be read. It returns how many.
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
		err = x.change(ctx, func() error { return b.Commit(pebble.NoSync) })
	}
	if err != nil {
		return 0, fmt.Errorf("forget in index: %w", err)
	}
	return n, nil
}

// ForgetFolders deletes the entries of each folder in tree for which gone returns true.
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
		err = errors.Join(err, x.change(ctx, func() error {
			return errors.Join(x.DB.DeleteRange(from, after(from), pebble.NoSync), x.DB.Delete(key, pebble.NoSync))
		}))
	}
	if err = errors.Join(err, it.Close()); err != nil {
		return fmt.Errorf("forget in index: %w", err)
	}
	return nil
}

// Device returns the device that was noted for a tree's root. ok is false if none was,
// or it cannot be read.
func (x *Index) Device(tree string) (dev string, ok bool) {
	b, done, err := x.DB.Get(x.keys.hash([]byte{'t'}, tree))
	if err != nil {
		return "", false
	}
	defer done.Close()
	return string(b), true
}

// SetDevice notes the device of a tree's root.
func (x *Index) SetDevice(ctx context.Context, tree, dev string) error {
	return x.Do(ctx, func() error { return x.DB.Set(x.keys.hash([]byte{'t'}, tree), []byte(dev), pebble.NoSync) })
}

// Folders returns how many folders the last whole sweep of a tree came to; 0: it is not
// known.
func (x *Index) Folders(tree string) int64 {
	b, done, err := x.DB.Get(x.keys.hash([]byte{'n'}, tree))
	if err != nil {
		return 0
	}
	defer done.Close()
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// SetFolders notes how many folders a whole sweep of a tree came to.
func (x *Index) SetFolders(ctx context.Context, tree string, n int64) error {
	return x.Do(ctx, func() error {
		return x.DB.Set(x.keys.hash([]byte{'n'}, tree), strconv.AppendInt(nil, n, 10), pebble.NoSync)
	})
}

// Medium returns the identity that was noted for the file system at path, a tree's root
// or a place where one is mounted. ok is false if none was, or it cannot be read.
func (x *Index) Medium(path string) (id string, ok bool) {
	b, done, err := x.DB.Get(x.keys.hash([]byte{'i'}, path))
	if err != nil {
		return "", false
	}
	defer done.Close()
	return string(b), true
}

// SetMedium notes the identity of the file system at path.
func (x *Index) SetMedium(ctx context.Context, path, id string) error {
	return x.Do(ctx, func() error { return x.DB.Set(x.keys.hash([]byte{'i'}, path), []byte(id), pebble.NoSync) })
}

// Close syncs and closes the index. If it cannot be written Close does not wait for its
// disk: the next start reads the journal's tail into it, or builds it anew. It lets go
// of its folder when the disk no longer refuses.
func (x *Index) Close() error {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	err := x.Sync(ctx)
	return errors.Join(err, x.Shut())
}
