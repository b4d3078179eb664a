// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func one(t testing.TB) (Tree, *receiver) { return oneBy(t, "fsnotify") }

func oneBy(t testing.TB, engine string) (Tree, *receiver) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tree := Tree{Name: "t", Path: dir, Settle: 50 * time.Millisecond, Engine: engine}
	r := receive(t, tree)
	eventually(t, "the first sweep", r.idle)
	return tree, r
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		trees []Tree
		want  string
	}{
		"relative":  {[]Tree{{Path: "a"}}, "not absolute"},
		"not clean": {[]Tree{{Path: dir + "/../x"}}, "not absolute and clean"},
		"twice":     {[]Tree{{Path: dir}, {Path: dir}}, "twice"},
		"glob":      {[]Tree{{Path: dir, Include: []string{"[a"}}}, "malformed"},
		"engine":    {[]Tree{{Path: dir, Engine: "kqueue"}}, "is unknown"},
		"settle":    {[]Tree{{Path: dir, Settle: -1, SettleLimit: time.Hour}}, "above 0"},
	} {
		_, err := New(Config{Trees: filled(c.trees...)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	here, elsewhere := Engines()
	for _, engine := range elsewhere {
		if _, err := New(Config{Trees: filled(Tree{Path: dir, Engine: engine})}); !errors.Is(err, ErrEngine) {
			t.Errorf("%s: %v is not ErrEngine", engine, err)
		}
	}
	for _, engine := range here {
		if _, err := New(Config{Trees: filled(Tree{Path: dir, Engine: engine})}); err != nil {
			t.Errorf("%s: %v", engine, err)
		}
	}
}

// Of a burst of files in new folders a simple watcher misses 97 %. Here none may be missed,
// without a sweep.
func TestBurstMissesNothing(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			able(t, engine)
			n := burst(engine)
			if os.Getenv("SOAK") != "" {
				n *= 4
			}
			missesNothing(t, engine, n)
		})
	}
}

// engines returns the engines of this system that get events.
func engines() []string {
	here, _ := Engines()
	return slices.DeleteFunc(here, func(e string) bool { return e == "auto" || e == "sweep" })
}

// eachBut runs a test with each engine that gets events, but for some.
func eachBut(t *testing.T, test func(t *testing.T, engine string), but ...string) {
	for _, engine := range engines() {
		if slices.Contains(but, engine) {
			continue
		}
		t.Run(engine, func(t *testing.T) {
			able(t, engine)
			test(t, engine)
		})
	}
}

// each runs a test with each engine but windows, which has tests of its own.
func each(t *testing.T, test func(t *testing.T, engine string)) { eachBut(t, test, "windows") }

func missesNothing(t *testing.T, engine string, n int) {
	tree, r := oneBy(t, engine)
	for i := range n {
		write(t, filepath.Join(tree.Path, fmt.Sprint(i), "a", "b", "c", "f"), "x")
	}
	eventually(t, "all files", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.index) == n
	})
	r.upToDate(t, tree.Path)
	want := 4*n + 1
	if engine == "fanotify" {
		want = 1
	}
	if s := r.w.State()[0]; s.Directories != want || s.Unwatched != 0 || s.Engine != engine {
		t.Errorf("%s: %d directories watched and %d not, want %d and 0", s.Engine, s.Directories, s.Unwatched, want)
	}
	if r.doubted(WhyLost) {
		t.Log("the queue overflowed; a sweep helped")
	}
}

func TestMissingTreeIsWaitedFor(t *testing.T) { each(t, missingTreeIsWaitedFor) }

func missingTreeIsWaitedFor(t *testing.T, engine string) {
	dir := t.TempDir()
	tree := Tree{Name: "t", Path: filepath.Join(dir, "not", "yet"), Engine: engine}
	r := receive(t, tree)
	file := filepath.Join(tree.Path, "d", "f")
	write(t, file, "x")
	eventually(t, "the file", func() bool { return r.has(file) })
	if !r.doubted(WhyStart) {
		t.Error("no doubt at start")
	}
}

func TestSweepEngineWatchesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "d", "f"), "x")
	r := receive(t, Tree{Name: "t", Path: dir, Engine: "sweep", Settle: time.Millisecond})
	eventually(t, "the file", func() bool { return r.has(filepath.Join(dir, "d", "f")) })
	if s := r.w.State()[0]; !s.Armed || s.Directories != 0 || s.Engine != "sweep" {
		t.Errorf("state %+v", s)
	}
	write(t, filepath.Join(dir, "d", "g"), "x")
	r.w.Ask(0, dir)
	eventually(t, "the second file", func() bool { return r.has(filepath.Join(dir, "d", "g")) })
}

func TestTreeInTree(t *testing.T) { each(t, treeInTree) }

func treeInTree(t *testing.T, engine string) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "in", "ner")
	write(t, filepath.Join(inner, "f"), "x")
	r := receive(t, Tree{Name: "outer", Path: dir, Engine: engine}, Tree{Name: "inner", Path: inner, Engine: engine})
	eventually(t, "the file", func() bool { return r.has(filepath.Join(inner, "f")) })
	write(t, filepath.Join(inner, "d", "g"), "x")
	write(t, filepath.Join(dir, "in", "h"), "x")
	eventually(t, "the other files", func() bool {
		return r.has(filepath.Join(inner, "d", "g")) && r.has(filepath.Join(dir, "in", "h"))
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calm {
		if want := strings.HasPrefix(c.Path, inner); (c.Tree == 1) != want {
			t.Errorf("%s belongs to tree %d", c.Path, c.Tree)
		}
	}
}

func TestSettlingUntilDone(t *testing.T) {
	dir := t.TempDir()
	w, err := New(Config{Trees: filled(Tree{Path: dir, Settle: time.Millisecond})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	path := filepath.Join(dir, "f")
	write(t, path, "x")
	w.Again(path)
	if c := <-w.Calm(); c.Path != path || c.Via != "event" {
		t.Errorf("calm %+v", c)
	}
	// An event of the write may come late: then the file settles again.
	eventually(t, "done", func() bool {
		select {
		case <-w.Calm():
		default:
		}
		w.Done(path)
		return !w.Settling(path)
	})
	w.Again(path)
	if !w.Settling(path) {
		t.Error("not settling after Again")
	}
	<-w.Calm()
	w.Again(filepath.Join(filepath.Dir(dir), "elsewhere"))
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestSweepTellsChunksAndErrors(t *testing.T) {
	dir := t.TempDir()
	for i := range chunk + 10 {
		write(t, filepath.Join(dir, "many", fmt.Sprint(i)), "")
	}
	write(t, filepath.Join(dir, "no", "secret", "f"), "x")
	write(t, filepath.Join(dir, "deep", strings.Repeat("d/", 50), "f"), "x")
	w, err := New(Config{Trees: filled(Tree{Path: dir, Exclude: []string{"no/**"}})})
	if err != nil {
		t.Fatal(err)
	}
	count, chunks, last := map[string]int{}, map[string]int{}, 0
	visit := func(f Folder) error {
		count[f.Path] += len(f.Entries)
		chunks[f.Path]++
		if f.Last {
			last++
		}
		if f.Err != nil {
			t.Errorf("%s: %v", f.Path, f.Err)
		}
		return nil
	}
	if err := w.Sweep(t.Context(), 0, dir, visit); err != nil {
		t.Fatal(err)
	}
	many := filepath.Join(dir, "many")
	if count[many] != chunk+10 || chunks[many] < 2 || last != len(chunks) {
		t.Errorf("%d entries in %d chunks, %d last of %d", count[many], chunks[many], last, len(chunks))
	}
	if _, ok := count[filepath.Join(dir, "no")]; ok {
		t.Error("an excluded directory was entered")
	}
	if len(count) != 53 {
		t.Errorf("%d folders", len(count))
	}
	stop := errors.New("stop")
	if err := w.Sweep(t.Context(), 0, dir, func(Folder) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Sweep: %v", err)
	}
	if err := w.Sweep(t.Context(), 0, filepath.Dir(dir), visit); err == nil {
		t.Error("swept outside the tree")
	}
	var got error
	err = Walk(t.Context(), Tree{Path: dir}, filepath.Join(dir, "gone"), func(f Folder) error {
		got = f.Err
		return nil
	})
	if err != nil || !errors.Is(got, fs.ErrNotExist) {
		t.Errorf("Walk of what is gone: %v, %v", err, got)
	}
}

func TestExcluded(t *testing.T) {
	dir := t.TempDir()
	w, err := New(Config{Trees: filled(
		Tree{Path: dir, Include: []string{"**/*.exe", "top"}, Exclude: []string{"old/**"}},
		Tree{Path: filepath.Join(dir, "all")},
	)})
	if err != nil {
		t.Fatal(err)
	}
	for rel, want := range map[string]bool{
		"a.exe": false, "x/y/a.exe": false, "x/a.txt": true, "top": false, "x/top": true,
		"old/a.exe": true, "older/a.exe": false, "a\n\xff.exe": false,
	} {
		if got := w.Excluded(0, filepath.Join(dir, filepath.FromSlash(rel))); got != want {
			t.Errorf("Excluded(%q) = %v", rel, got)
		}
	}
	if w.Excluded(1, filepath.Join(dir, "all", "x")) {
		t.Error("excluded without any glob")
	}
}

// TestMadeUpInodes: where a file system makes up its inode numbers, another one is no
// other version. All else is.
func TestMadeUpInodes(t *testing.T) {
	w := &Watcher{media: media{madeUp: map[uint64]bool{7: true, 8: false}}}
	a := Stat{Size: 1, Mtime: Time{1, 2}, Ctime: Time{3, 4}, Inode: 5, Dev: 7}
	b, c := a, a
	b.Inode, c.Ctime = 6, Time{3, 5}
	if is := w.Same("/f", 7); !is(a, b) || is(a, c) {
		t.Error("the inode alone makes a version, or nothing does")
	}
	if is := w.Same("/f", 8); is(a, b) {
		t.Error("another inode is the same version")
	}
}

func TestDoubtsMerge(t *testing.T) {
	d := newDoubts()
	for range 3 {
		d.raise(Doubt{0, "/t", WhyStart})
		d.raise(Doubt{0, "/t/a", WhyError})
		d.raise(Doubt{1, "/t", WhyLost})
	}
	var got []string
	for n, ok := d.next(); ok; n, ok = d.next() {
		got = append(got, fmt.Sprint(n.Tree, n.Under, n.Why))
	}
	if want := []string{"0/tstart", "0/t/aerror", "1/tlost"}; len(got) != 3 {
		t.Errorf("got %q, want %q", got, want)
	}
}
