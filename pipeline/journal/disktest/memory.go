// SPDX-License-Identifier: Apache-2.0

// Package disktest is a disk in memory that forgets bytes and names that were not
// synced, as a power cut does in the worst case.
//
// It promises: a test that passes on it relies on nothing but fsync.
//
// Invariants:
//
//  1. Cut(0) holds exactly what was synced: a file's bytes by Sync of the file, its
//     name by Sync of its folder.
//  2. Before each operation that changes something the disk asks the test, which may
//     let it fail, with or without its effect.
//  3. What a Sync without effect did not write, no later one writes: the bytes must be
//     written anew.
//
// The package starts no goroutine. Disk.mu guards all nodes.
package disktest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
)

// Op is an operation that changes something.
type Op struct {
	Kind string // create, write, truncate, sync, mkdir, rename, remove, syncdir
	Path string
	Call string // the function that asks for it, such as journal.(*Series).commit
}

// Applied is the error of an operation that took effect nevertheless.
type Applied struct{ Err error }

func (a Applied) Error() string { return a.Err.Error() }

// Unwrap returns the cause.
func (a Applied) Unwrap() error { return a.Err }

// ErrSkip lets an operation succeed without effect, as if the program had forgotten it.
var ErrSkip = errors.New("skipped")

// Disk is a journal.Disk in memory.
type Disk struct {
	// Before is called before each operation; nil: all succeed. If it returns an error
	// the operation fails without effect. With Applied it fails and takes effect. With
	// ErrSkip it succeeds without effect. Set Before before the disk is used. It may
	// call Cut, CutOutOfOrder and Kill, and nothing else of the disk.
	Before func(Op) error

	mu    sync.Mutex // guards all that follows, and each node
	root  *node
	next  int             // the id of the next node
	locks map[string]bool // by half
	held  sync.Map        // by path: the channel of a lock file; its token is there while it is held
	room  int64           // the bytes that Free returns
	clock time.Time       // of the last change
}

// now returns the time of a change. It is later than that of each change before it, also
// where the system's clock has a coarse grain: Wine's moves each 16 ms. Caller holds mu.
func (d *Disk) now() time.Time {
	if now := time.Now(); now.After(d.clock) {
		d.clock = now
	} else {
		d.clock = d.clock.Add(1)
	}
	return d.clock
}

// node is a file or a folder.
type node struct {
	id    int
	dir   bool
	data  []byte
	names map[string]*node

	synced      []byte                 // data as of the last Sync
	syncedNames map[string]*node       // names as of the last Sync
	last        func(map[string]*node) // the last change of names since then; nil: none
	changed     time.Time
	dropped     map[int]bool // pages that a Sync failed to write: the next one does not try them again
}

// page is how many bytes of a file are written to the disk together.
const page = 4096

// pages calls each for the pages that the bytes between two places lie in.
func pages(from, to int, each func(p int)) {
	for p := from / page; p*page < to; p++ {
		each(p)
	}
}

// drop forgets what a Sync that failed was to write, as Linux does: the bytes stay there to
// read, and count as written.
func (n *node) drop() {
	same := 0
	for same < min(len(n.data), len(n.synced)) && n.data[same] == n.synced[same] {
		same++
	}
	if n.dropped == nil {
		n.dropped = map[int]bool{}
	}
	if same < len(n.data) {
		pages(same, len(n.data), func(p int) { n.dropped[p] = true })
	}
}

// sync makes the bytes durable, but for those that were dropped and not written since.
func (n *node) sync() {
	was := n.synced
	n.synced = slices.Clone(n.data)
	for p := range n.dropped {
		for i := p * page; i < min((p+1)*page, len(n.data)); i++ {
			n.synced[i] = 0
			if i < len(was) {
				n.synced[i] = was[i]
			}
		}
	}
}

// rename changes the names of a folder, and remembers the change.
func (n *node) rename(change func(names map[string]*node)) {
	change(n.names)
	n.last = change
}

// syncNames makes the names durable.
func (n *node) syncNames() { n.syncedNames, n.last = maps.Clone(n.names), nil }

// New returns an empty disk.
func New() *Disk {
	return &Disk{root: folderNode(0), next: 1, locks: map[string]bool{}, room: 1 << 50}
}

func folderNode(id int) *node {
	return &node{id: id, dir: true, names: map[string]*node{}, syncedNames: map[string]*node{}}
}

// SetFree sets how many bytes Free returns.
func (d *Disk) SetFree(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = n
}

// Cut returns the disk as it would be after a power cut now. It holds all that was
// synced, and of the bytes that were appended since then the given share, in percent.
// The disk itself stays as it is.
func (d *Disk) Cut(share int) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.copied(&left{share: share, seen: map[*node]*node{}})
}

// CutOutOfOrder is Cut(0) on a disk that writes the names of a folder in any order. Of
// the changes since the folder's last Sync only the last one is there.
func (d *Disk) CutOutOfOrder() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.copied(&left{last: true, seen: map[*node]*node{}})
}

// Kill returns the disk as it would be after the process is killed now. It holds
// everything; bytes and names that were not synced are still not synced. The disk
// itself stays as it is.
func (d *Disk) Kill() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.copied(&left{all: true, seen: map[*node]*node{}})
}

func (d *Disk) copied(l *left) *Disk {
	return &Disk{root: l.of(d.root), next: d.next, locks: map[string]bool{}, room: d.room, clock: d.clock}
}

// left copies the part of a disk that is left after a cut.
type left struct {
	share int             // of the bytes that were appended since the last Sync, in percent
	last  bool            // keep the last change of a folder's names, and none before it
	all   bool            // keep all that was not synced too
	seen  map[*node]*node // the copy of each node
}

func (l *left) of(n *node) *node {
	if m := l.seen[n]; m != nil {
		return m
	}
	m := &node{id: n.id, dir: n.dir, changed: n.changed, dropped: maps.Clone(n.dropped)}
	l.seen[n] = m
	if n.dir {
		names := maps.Clone(n.syncedNames)
		if l.last && n.last != nil {
			n.last(names)
		}
		m.syncedNames = l.ofAll(names)
		m.names = maps.Clone(m.syncedNames)
		if l.all {
			m.names = l.ofAll(n.names)
		}
		return m
	}
	data := n.synced
	if more := len(n.data) - len(data); more > 0 && bytes.HasPrefix(n.data, data) && len(n.dropped) == 0 {
		data = n.data[:len(data)+more*l.share/100]
	}
	m.synced, m.data = slices.Clone(data), slices.Clone(data)
	if l.all {
		m.data = slices.Clone(n.data)
	}
	return m
}

func (l *left) ofAll(names map[string]*node) map[string]*node {
	m := map[string]*node{}
	for name, child := range names {
		m[name] = l.of(child)
	}
	return m
}

// caller returns the function outside this package that asks for an operation.
func caller() string {
	pc := make([]uintptr, 16)
	frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc)])
	for {
		f, more := frames.Next()
		name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
		switch {
		case strings.HasSuffix(name, "(*Disk).OpenFolder"):
			return "OpenFolder" // whatever function calls it
		case !strings.HasPrefix(name, "disktest.") || !more:
			return name
		}
	}
}

// do asks Before, and applies the operation unless Before refuses.
func (d *Disk) do(kind, path string, apply func() error) error {
	var refused error
	if d.Before != nil {
		refused = d.Before(Op{kind, path, caller()})
	}
	if errors.Is(refused, ErrSkip) {
		return nil
	}
	var applied Applied
	if refused != nil && !errors.As(refused, &applied) {
		return &fs.PathError{Op: kind, Path: path, Err: refused}
	}
	d.mu.Lock()
	err := apply()
	d.mu.Unlock()
	if err == nil && refused != nil {
		err = applied.Err
	}
	if err != nil {
		return &fs.PathError{Op: kind, Path: path, Err: err}
	}
	return nil
}

// OpenFolder implements journal.Disk.
func (d *Disk) OpenFolder(dir string) (journal.Folder, error) {
	n, err := d.folder(filepath.Clean(dir), true)
	if err != nil {
		return nil, err
	}
	return &folder{d, dir, n}, nil
}

// FindFolder implements journal.Disk.
func (d *Disk) FindFolder(dir string) (journal.Folder, error) {
	n := d.root
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range strings.Split(strings.Trim(filepath.ToSlash(filepath.Clean(dir)), "/"), "/") {
		if n = n.names[name]; n == nil || !n.dir {
			return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
		}
	}
	return &folder{d, dir, n}, nil
}

// folder finds a folder or makes it. As on the real disk, the names of new folders and
// of the one that is opened (top) are synced.
func (d *Disk) folder(dir string, top bool) (*node, error) {
	parent, name := filepath.Dir(dir), filepath.Base(dir)
	if parent == dir {
		return d.root, nil
	}
	up, err := d.folder(parent, false)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	n := up.names[name]
	d.mu.Unlock()
	if n == nil {
		err := d.do("mkdir", dir, func() error {
			n = folderNode(d.next)
			d.next++
			up.rename(func(names map[string]*node) { names[name] = n })
			return nil
		})
		if err != nil {
			return nil, err
		}
		top = true
	}
	if !top {
		return n, nil
	}
	return n, d.do("syncdir", parent, func() error {
		up.syncNames()
		return nil
	})
}

// TakeLock implements journal.Disk.
func (d *Disk) TakeLock(half string, dirs ...string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locks[half] {
		return nil, journal.ErrLocked
	}
	d.locks[half] = true
	return unlock(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.locks, half)
	}), nil
}

type unlock func()

func (u unlock) Close() error { u(); return nil }
