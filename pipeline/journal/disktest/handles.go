// SPDX-License-Identifier: Apache-2.0

package disktest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
)

// folder implements journal.Folder.
type folder struct {
	d    *Disk
	path string
	n    *node
}

func (f *folder) Path() string { return f.path }

func (f *folder) Close() error { return nil }

func (f *folder) Free() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.d.room, nil
}

func (f *folder) Listen(ctx context.Context, _ *slog.Logger, _ func()) error {
	<-ctx.Done()
	return nil
}

// Lock implements journal.Folder. No file is made.
func (f *folder) Lock(name string) (io.Closer, error) {
	token, _ := f.d.held.LoadOrStore(f.at(name), make(chan struct{}, 1))
	token.(chan struct{}) <- struct{}{}
	return held{token.(chan struct{})}, nil
}

// held is a lock file.
type held struct{ token chan struct{} }

func (h held) Close() error {
	<-h.token
	return nil
}

func (f *folder) at(name string) string { return filepath.Join(f.path, name) }

func (f *folder) Open(name string, flag int) (journal.File, error) {
	f.d.mu.Lock()
	n := f.n.names[name]
	f.d.mu.Unlock()
	if n == nil && flag&os.O_CREATE == 0 {
		return nil, &fs.PathError{Op: "open", Path: f.at(name), Err: fs.ErrNotExist}
	}
	if n == nil {
		err := f.d.do("create", f.at(name), func() error {
			n = &node{id: f.d.next, changed: f.d.now()}
			f.d.next++
			f.n.rename(func(names map[string]*node) { names[name] = n })
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if n.dir {
		return nil, &fs.PathError{Op: "open", Path: f.at(name), Err: errors.New("is a folder")}
	}
	o := &file{d: f.d, path: f.at(name), n: n, appends: flag&os.O_APPEND != 0}
	if flag&os.O_TRUNC != 0 {
		return o, o.Truncate(0)
	}
	return o, nil
}

func (f *folder) Lstat(name string) (fs.FileInfo, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n := f.n.names[name]
	if n == nil {
		return nil, &fs.PathError{Op: "lstat", Path: f.at(name), Err: fs.ErrNotExist}
	}
	return n.info(name), nil
}

func (f *folder) List() ([]fs.DirEntry, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	var all []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(f.n.names)) {
		all = append(all, fs.FileInfoToDirEntry(f.n.names[name].info(name)))
	}
	return all, nil
}

func (f *folder) Rename(from, to string) error {
	return f.d.do("rename", f.at(from), func() error {
		n := f.n.names[from]
		if n == nil {
			return fs.ErrNotExist
		}
		f.n.rename(func(names map[string]*node) {
			delete(names, from)
			names[to] = n
		})
		return nil
	})
}

func (f *folder) Remove(name string) error {
	return f.d.do("remove", f.at(name), func() error {
		if f.n.names[name] == nil {
			return fs.ErrNotExist
		}
		f.n.rename(func(names map[string]*node) { delete(names, name) })
		return nil
	})
}

func (f *folder) Sync() error {
	return f.d.do("syncdir", f.path, func() error {
		f.n.syncNames()
		return nil
	})
}

// file implements journal.File.
type file struct {
	d       *Disk
	path    string
	n       *node
	appends bool
	off     int // where the next Write begins, if it does not append
}

func (f *file) Close() error { return nil }

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	k := copy(p, f.n.data[off:])
	if k < len(p) {
		return k, io.EOF
	}
	return k, nil
}

// Write appends, or goes on where the one before ended. A failure that takes effect leaves
// half of the bytes; if they are the last ones that is a torn tail.
func (f *file) Write(p []byte) (int, error) {
	arrived, at := 0, 0
	err := f.d.do("write", f.path, func() error {
		at = f.off
		if f.appends {
			at = len(f.n.data)
		}
		f.n.data, f.n.changed = slices.Concat(f.n.data[:min(at, len(f.n.data))], p, f.n.data[min(at+len(p), len(f.n.data)):]), f.d.now()
		pages(at, at+len(p), func(n int) { delete(f.n.dropped, n) })
		arrived = len(p)
		f.off = at + arrived
		return nil
	})
	if err != nil && arrived > 0 {
		f.d.mu.Lock()
		if arrived /= 2; at+len(p) == len(f.n.data) {
			f.n.data = f.n.data[:at+arrived]
		}
		f.off = at + arrived
		f.d.mu.Unlock()
	}
	return arrived, err
}

func (f *file) Truncate(size int64) error {
	return f.d.do("truncate", f.path, func() error {
		grown := make([]byte, size)
		copy(grown, f.n.data)
		f.n.data = grown
		return nil
	})
}

func (f *file) Sync() error {
	asked := false
	err := f.d.do("sync", f.path, func() error {
		f.n.sync()
		asked = true
		return nil
	})
	if err != nil && !asked {
		f.d.mu.Lock()
		f.n.drop()
		f.d.mu.Unlock()
	}
	return err
}

func (f *file) Stat() (fs.FileInfo, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.n.info(filepath.Base(f.path)), nil
}

func (f *file) ID() (string, error) { return "mem-" + strconv.Itoa(f.n.id), nil }

func (n *node) info(name string) info { return info{name, int64(len(n.data)), n.dir, n.changed} }

// info implements fs.FileInfo.
type info struct {
	name    string
	size    int64
	dir     bool
	changed time.Time
}

func (i info) Name() string { return i.name }

func (i info) Size() int64 { return i.size }

func (i info) ModTime() time.Time { return i.changed }

func (i info) IsDir() bool { return i.dir }

func (i info) Sys() any { return nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o750
	}
	return 0o640
}
