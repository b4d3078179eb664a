// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/certpush/certpush/pipeline/watch"
)

// mostRemembered is how many folders of a tree are remembered between its sweeps: about
// 40 MB. A tree that has more is swept whole each time.
const mostRemembered = 250_000

// remembered is a folder at its last listing.
type remembered struct {
	mtime watch.Time // of the folder, from before it was listed
	first time.Time  // when a listing found this mtime first
	calm  bool       // one that came longer than a grain later found it too
}

// grainMost is the coarsest step in which a file system counts the time of a folder.
const grainMost = 2 * time.Second

// folders remembers the folders of a tree that others write without an event here. Between
// two sweeps of the whole tree only those whose mtime changed are listed: a file that was
// made, renamed or removed changes it. A file that is written in place does not; the next
// sweep of the whole tree finds that.
//
// A file system may give two changes the same mtime, and its clock may differ from ours. So
// a folder is listed until it was found with one mtime at two times far enough apart.
//
// Only the goroutine that sweeps has it.
type folders struct {
	all  map[string]remembered
	next map[string]remembered // of the sweep of the whole tree that goes on
	on   bool                  // others write the tree
}

func newFolders() *folders { return &folders{all: map[string]remembered{}} }

// begin begins a sweep of the whole tree.
func (k *folders) begin(on bool) { k.next, k.on = map[string]remembered{}, on }

// note notes that a folder was listed to its end.
func (k *folders) note(f watch.Folder) {
	if !k.on {
		return
	}
	was, known := k.all[f.Path]
	now := remembered{f.Mtime, time.Now(), false}
	if known && was.mtime == f.Mtime {
		now.first, now.calm = was.first, was.calm || time.Since(was.first) > grainMost
	}
	if k.all[f.Path] = now; k.next != nil {
		k.next[f.Path] = now
	}
	if len(k.all) > mostRemembered {
		k.forget()
	}
}

// end ends the sweep. What it came to is all that there is, if it came to everything.
func (k *folders) end(whole bool) {
	if whole && k.on {
		k.all = k.next
	}
	if k.next = nil; !k.on {
		k.forget()
	}
}

// forget forgets all, until the next sweep of the whole tree.
func (k *folders) forget() { k.all, k.next, k.on = map[string]remembered{}, nil, false }

// changed returns the folders whose mtime is another one than at their last listing, and
// those that are not calm yet. It forgets those that are gone. The tree's own path may be a
// link.
func (k *folders) changed(ctx context.Context, tree string) (all []string) {
	for path, was := range k.all {
		if ctx.Err() != nil {
			return nil
		}
		at := path
		if path == tree {
			if followed, err := filepath.EvalSymlinks(path); err == nil {
				at = followed
			}
		}
		st, err := watch.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			delete(k.all, path) // the folder above has changed too
		case err != nil || !was.calm || st.Mtime != was.mtime:
			all = append(all, path)
		}
	}
	return all
}

// sweepChanged lists the folders of a tree that changed since they were listed last, and
// those that came below them.
func sweepChanged(ctx context.Context, p *Producer, tree int) {
	begun, k := time.Now(), p.folders[tree]
	paths := k.changed(ctx, p.c.Trees[tree].Path)
	if len(paths) == 0 {
		return
	}
	s := &sweep{p: p, d: watch.Doubt{Tree: tree, Why: "changed"}, folders: k, sound: true, ok: true, marks: ends(p.lanes)}
	s.forget = onNotedDevice(p.index, p.c.Trees[tree].Path)
	known := func(path string) bool { _, is := k.all[path]; return is }
	for _, path := range paths {
		err := p.watcher.SweepNew(ctx, tree, path, known, func(f watch.Folder) error { return s.folder(ctx, f) })
		if ctx.Err() != nil {
			break
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.log.Warn("sweep did not reach everything; it is tried again within the minute", "tree", p.c.Trees[tree].Name, "error", err)
		}
	}
	if s.flush(ctx); !s.ok || !s.sound {
		for _, path := range paths {
			k.all[path] = remembered{} // what was found in it is not in the journal
		}
	}
	level := slog.LevelDebug
	if s.fresh > 0 {
		level = slog.LevelInfo
	}
	p.log.Log(ctx, level, "swept", "tree", p.c.Trees[tree].Name, "under", p.c.Trees[tree].Path, "why", s.d.Why, "files", s.files, "journaled", s.fresh, "took", time.Since(begun).Round(time.Millisecond).String())
}
