// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// follows makes a source for dir.
func follows(t *testing.T, dir string) source {
	t.Helper()
	st, err := follow(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newRecursive(dir, st.place())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Close brings both reads back, also while events come, and only then pump returns. Then
// the system has no buffer of ours any more, and the name of the folder is free.
func TestRecursiveCloseBringsReadsBack(t *testing.T) {
	for range 50 {
		dir := filepath.Join(t.TempDir(), "d")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		s := follows(t, dir)
		seen, ended := make(chan bool, 1000), make(chan bool)
		go func() {
			defer close(ended)
			s.pump(func(fsnotify.Event) { seen <- true }, func(err error) { t.Errorf("trouble: %v", err) })
		}()
		write(t, filepath.Join(dir, "a"), "x")
		<-seen
		write(t, filepath.Join(dir, "b"), "x")
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		<-ended
		if r := s.(*recursive); r.aloft() || r.issue(r.reads[0]) != nil || r.aloft() {
			t.Error("a read is out, or began after the end")
		}
		if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
			t.Errorf("the folder is still held: %v", err)
		}
	}
}

func TestRecursiveRefusesAnotherFolder(t *testing.T) {
	st, err := follow(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newRecursive(t.TempDir(), st.place()); !errors.Is(err, errMoved) {
		t.Errorf("watched another folder: %v", err)
	}
	if _, err := newRecursive(filepath.Join(t.TempDir(), "gone"), st.place()); !vanished(err) {
		t.Errorf("watched what is gone: %v", err)
	}
}

// Folders below the tree have no handle: they can be renamed and removed as if they were
// not watched.
func TestRecursiveHoldsNoFolder(t *testing.T) {
	tree, r := oneBy(t, "windows")
	write(t, filepath.Join(tree.Path, "a", "b", "c", "f"), "x")
	eventually(t, "the file", func() bool { return r.has(filepath.Join(tree.Path, "a", "b", "c", "f")) })
	r.upToDate(t, tree.Path)
	if err := os.Rename(filepath.Join(tree.Path, "a"), filepath.Join(tree.Path, "z")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the renamed file", func() bool { return r.has(filepath.Join(tree.Path, "z", "b", "c", "f")) })
	r.upToDate(t, tree.Path)
	if err := errors.Join(os.RemoveAll(filepath.Join(tree.Path, "z")), os.Mkdir(filepath.Join(tree.Path, "z"), 0o755)); err != nil {
		t.Error(err)
	}
	write(t, filepath.Join(tree.Path, "z", "g"), "x")
	eventually(t, "a file in the new folder", func() bool { return r.has(filepath.Join(tree.Path, "z", "g")) })
}

// auto takes the engine that the self-test finds, for all trees, and the self-test leaves
// no file behind. An engine that is configured by name is taken without a test.
func TestAutoTakesWhatItTested(t *testing.T) {
	scratch := t.TempDir()
	// A killed process left this file.
	write(t, filepath.Join(scratch, "engine-test", "old", "file"), "x")
	want := "windows"
	if err := selfTest(t.Context(), scratch); err != nil {
		t.Logf("the self-test: %v", err)
		want = "fsnotify"
	}
	w, err := New(Config{Scratch: scratch, Trees: filled(Tree{Path: t.TempDir()}, Tree{Path: t.TempDir(), Engine: "auto"},
		Tree{Path: t.TempDir(), Engine: "windows"}, Tree{Path: t.TempDir(), Engine: "fsnotify"})})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan bool)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { defer close(ended); _ = w.Run(ctx) }()
	eventually(t, "all trees", func() bool {
		for _, s := range w.State() {
			if !s.Armed {
				return false
			}
		}
		return true
	})
	for i, engine := range []string{want, want, "windows", "fsnotify"} {
		if s := w.State()[i]; s.Engine != engine {
			t.Errorf("tree %d is watched by %s, want %s", i, s.Engine, engine)
		}
	}
	cancel()
	<-ended
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := selfTest(t.Context(), filepath.Join(scratch, "not there")); err == nil {
		t.Error("tested where there is no place")
	}
}
