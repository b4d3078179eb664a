// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// chunk is how many entries of a folder one call of visit gets at most.
const chunk = 4096

// maxPath is the length, in bytes, of the longest path of a folder that is entered.
// Folders can be nested without end, and a path costs memory and time at each step. All
// paths that Windows can have are shorter.
const maxPath = 32 << 10

// ErrTooLong is in the Err of a Folder that was not entered, because its path is longer
// than 32 KiB.
var ErrTooLong = errors.New("its path is longer than 32 KiB")

// Entry is one name in a folder that is not a directory. It is not always a regular file:
// see Stat.Kind.
type Entry struct {
	Name string
	Stat Stat
}

// Folder is a directory with up to 4096 of its entries.
type Folder struct {
	Path    string
	Entries []Entry // valid until visit returns
	Last    bool    // no further call for this folder comes
	Err     error   // with Last: why the folder was not listed to the end; nil: it was
	Dev     uint64  // the device on which it lies
	Mtime   Time    // its own, from before it was listed

	dir  *os.File // it is open until visit returns; nil with Err
	tree *tree    // of the Watcher that sweeps it; nil: Walk does
}

// Sweep walks under, which is a tree's Path or a directory below it, and calls visit for
// each directory, parents first. It watches each directory before it lists it. It does
// not follow symbolic links. It reports excluded entries too. It leaves out directories
// that an exclude of the form P/** covers, and those that are the Path of another tree.
// In memory it has only the names of the directories that are still to come, of the
// folders on the way down.
//
// The error is visit's, ctx's, or says that under is not in the tree. After an error the
// scope must be swept again. A folder that could not be read does not end the walk: it
// has Folder.Err. That is fs.ErrNotExist if the folder is gone, and ErrTooLong if its
// path is too long.
func (w *Watcher) Sweep(ctx context.Context, tree int, under string, visit func(Folder) error) error {
	if tree < 0 || tree >= len(w.trees) || !Within(w.trees[tree].Path, under) {
		return fmt.Errorf("sweep %q: it is not in the tree", under)
	}
	return w.trees[tree].sweep(ctx, under, visit)
}

// SweepNew is Sweep of under alone, and of those directories below it that known does not
// know.
func (w *Watcher) SweepNew(ctx context.Context, tree int, under string, known func(path string) bool, visit func(Folder) error) error {
	return w.trees[tree].walk(ctx, under, known, visit)
}

// Walk is Sweep without a Watcher: it sets no watches, and knows of no other tree.
func Walk(ctx context.Context, t Tree, under string, visit func(Folder) error) error {
	if !Within(t.Path, under) {
		return fmt.Errorf("walk %q: it is not in the tree", under)
	}
	own := ground{Tree: t}
	g := newGlobs(t)
	return walk(ctx, t.Path, own.below(under), walker{
		watch: func(string, place, *os.File) bool { return true },
		skip:  func(_, rel string) bool { return g.barren(rel) },
		visit: visit,
	})
}

func (t *tree) sweep(ctx context.Context, under string, visit func(Folder) error) error {
	age := t.watches.grown()
	err := t.walk(ctx, under, func(string) bool { return false }, visit)
	whole := err == nil && under == t.Path
	if whole {
		t.watches.purge(age)
	}
	t.report(whole)
	return err
}

// walk watches and visits under, and the directories below it, without what is left out
// and without those that known knows.
func (t *tree) walk(ctx context.Context, under string, known func(path string) bool, visit func(Folder) error) error {
	return walk(ctx, t.Path, t.below(under), walker{
		watch: t.watches.ensure,
		skip: func(path, rel string) bool {
			_, other := t.w.root(path)
			if !other && !t.globs.barren(rel) {
				return known(path)
			}
			t.watches.forget(path) // perhaps a folder above was renamed, and it was wanted before
			return true
		},
		visit: func(f Folder) error {
			if f.tree = t; f.Err != nil {
				t.unread(f)
			}
			return visit(f)
		},
	})
}

// unread notes that a folder could not be listed; if it is gone, unread forgets it.
func (t *tree) unread(f Folder) {
	if vanished(f.Err) || linked(f.Err) {
		if f.Path != t.Path {
			t.watches.forget(f.Path)
		}
		return
	}
	if t.watches.fail(f.Path, f.Err) && errors.Is(f.Err, ErrTooLong) {
		t.w.skipped(t, f.Path, "path_too_long")
		if path := shortened(f.Path); t.said.names(path) {
			t.w.log.Warn("directory is left out, for its path is too long; all others are not touched by that: move it up, or take it away", "tree", t.Name, "folder", path, "error", f.Err)
		}
	}
}

// walker holds the functions that walk calls.
type walker struct {
	watch func(path string, at place, f *os.File) bool // called before the folder f is listed; false: path leads to another place now
	skip  func(path, rel string) bool                  // reports whether to leave a directory out
	visit func(Folder) error

	entries []Entry // is filled anew for each folder
}

// level is a folder on the way down, with the names of the directories in it that are
// still to come. Its path is the first size bytes of the way, because a path for each
// level would take gigabytes in a tree that is deep enough.
type level struct {
	size  int
	names []string
}

func walk(ctx context.Context, root, rel string, w walker) error {
	var way []byte
	stack := []level{{names: []string{rel}}}
	for len(stack) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		top := &stack[len(stack)-1]
		if len(top.names) == 0 {
			stack = stack[:len(stack)-1]
			continue
		}
		name := top.names[len(top.names)-1]
		top.names = top.names[:len(top.names)-1]
		next := inside(string(way[:top.size]), name)
		if next != rel && w.skip(join(root, next), next) {
			continue
		}
		names, err := list(ctx, root, next, &w)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			if way = append(way[:0], next...); next == "." {
				way = way[:0]
			}
			stack = append(stack, level{len(way), names})
		}
	}
	return nil
}

// list calls visit for one folder, once for each chunk, and returns the names of its
// directories. Its error is visit's or ctx's.
func list(ctx context.Context, root, rel string, w *walker) ([]string, error) {
	path := join(root, rel)
	var f *os.File
	var own Stat
	err := ErrTooLong
	if len(path) <= maxPath {
		f, own, err = enter(root, rel, path, w)
	}
	if err != nil {
		return nil, w.visit(Folder{Path: path, Last: true, Err: fmt.Errorf("list folder: %w", err)})
	}
	defer f.Close()
	var names []string
	var bad error // the error of an entry that has no Stat; the others are still listed
	entries := w.entries[:0]
	defer func() { w.entries = entries }()
	for {
		found, more := f.ReadDir(chunk)
		for _, d := range found {
			if d.IsDir() {
				names = append(names, d.Name())
				continue
			}
			st, err := lstatIn(f, d.Name())
			switch {
			case errors.Is(err, fs.ErrNotExist):
			case err != nil:
				bad = err
			case st.Mode.IsDir():
				names = append(names, d.Name())
			default:
				entries = append(entries, Entry{d.Name(), st})
			}
			if len(entries) == chunk {
				if err := w.visit(Folder{Path: path, Entries: entries, Dev: own.Dev, Mtime: own.Mtime, dir: f}); err != nil {
					return nil, err
				}
				entries = entries[:0]
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if more == nil {
			continue
		}
		if errors.Is(more, io.EOF) {
			more = bad
		}
		if more != nil {
			more = fmt.Errorf("list folder: %w", more)
		}
		return names, w.visit(Folder{Path: path, Entries: entries, Last: true, Err: more, Dev: own.Dev, Mtime: own.Mtime, dir: f})
	}
}

// enter opens a folder, and then watches it, so that the caller lists it last. If the path
// leads to another place each time, it gives up after four tries with errMoved.
func enter(root, rel, path string, w *walker) (*os.File, Stat, error) {
	for try := 0; ; try++ {
		f, err := openFolder(root, rel)
		if err != nil {
			return nil, Stat{}, err
		}
		st, err := Fstat(f)
		if err != nil {
			f.Close()
			return nil, Stat{}, err
		}
		if w.watch(path, st.place(), f) {
			return f, st, nil
		}
		f.Close()
		if try == 3 {
			return nil, Stat{}, errMoved
		}
	}
}

// join is filepath.Join for clean parts.
func join(dir, name string) string {
	switch {
	case name == "." || name == "":
		return dir
	case os.IsPathSeparator(dir[len(dir)-1]):
		return dir + name
	}
	return dir + string(filepath.Separator) + name
}

// inside is join for paths relative to the tree.
func inside(dir, name string) string {
	if dir == "" || dir == "." {
		return name
	}
	return join(dir, name)
}
