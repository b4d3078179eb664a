// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// TestOnlyFoldersThatChangedAreListed: between two sweeps of a tree that others write, a
// new file, a new folder and what lies in it are found, and a folder that did not change
// is not listed.
func TestOnlyFoldersThatChangedAreListed(t *testing.T) {
	p, path := resting(t)
	tree, k := p.c.Trees[0].Path, p.folders[0]
	quiet := filepath.Join(tree, "quiet")
	must(t, os.Mkdir(quiet, 0o755))
	visit := func(s *sweep) {
		k.begin(true)
		must(t, p.watcher.Sweep(t.Context(), 0, tree, func(f watch.Folder) error { return s.folder(t.Context(), f) }))
		s.flush(t.Context())
		k.end(true)
	}
	all := func() *sweep {
		return &sweep{p: p, folders: k, sound: true, ok: true, marks: ends(p.lanes)}
	}
	calm := func(path string) { // as if its last change was long ago
		must(t, os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)))
	}
	calm(path)
	visit(all())
	calm(tree)
	calm(quiet)
	visit(all())
	for path, was := range k.all { // as if that was long ago
		was.first = was.first.Add(-time.Minute)
		k.all[path] = was
	}
	visit(all())
	if changed := k.changed(t.Context(), tree); len(changed) != 0 {
		t.Fatalf("changed: %q", changed)
	}

	must(t, os.MkdirAll(filepath.Join(tree, "new", "below"), 0o755))
	for _, file := range []string{"b", "new/c", "new/below/d"} {
		must(t, os.WriteFile(filepath.Join(tree, file), []byte(file), 0o600))
		calm(filepath.Join(tree, file))
	}
	// A new file there does not show, for somebody set the time of the folder back.
	must(t, os.WriteFile(filepath.Join(quiet, "e"), []byte("e"), 0o600))
	calm(filepath.Join(quiet, "e"))
	st, err := os.Stat(quiet)
	must(t, err)
	was := k.all[quiet].mtime
	must(t, os.Chtimes(quiet, st.ModTime(), time.Unix(was.Sec, int64(was.Nsec))))
	sweepChanged(t.Context(), p, 0)
	var found []string
	for _, file := range []string{"b", "new/c", "new/below/d", "quiet/e"} {
		path := filepath.Join(tree, file)
		e, ok, err := p.index.Get(path)
		must(t, err)
		// Where the system cannot tell a writer the file settles first: its ctime is young.
		if ok && e.At.Lane == journal.Backlog || p.watcher.Settling(path) {
			found = append(found, file)
		}
	}
	if !slices.Equal(found, []string{"b", "new/c", "new/below/d"}) {
		t.Errorf("found %q", found)
	}
	if changed := k.changed(t.Context(), tree); !slices.Contains(changed, tree) {
		t.Error("a folder that changed is not listed once more: its file system may give two changes one time")
	}
	must(t, os.RemoveAll(filepath.Join(tree, "new")))
	if k.changed(t.Context(), tree); len(k.all) != 2 {
		t.Errorf("%d folders are remembered", len(k.all))
	}
}
