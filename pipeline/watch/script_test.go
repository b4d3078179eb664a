// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits before it fails. A test that succeeds does not wait
// that long.
const patience = 60 * time.Second

// eventually waits until ok returns true, and fails the test after patience.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// receiver does what a producer does: it keeps an index of versions, sweeps each doubt,
// and sends files that the index lacks to settle.
type receiver struct {
	w      *Watcher
	mu     sync.Mutex // guards the fields below
	index  map[string]Stat
	calm   []Calm // each version once
	doubts []Doubt
	swept  int
	skips  map[string]string
}

// receive runs a watcher over trees, and a receiver, until the test ends.
// filled returns trees in which each time that is not set has a value.
func filled(trees ...Tree) []Tree {
	all := slices.Clone(trees)
	for i := range all {
		all[i].Settle = cmp.Or(all[i].Settle, 500*time.Millisecond)
		all[i].SettleLimit = cmp.Or(all[i].SettleLimit, time.Hour)
	}
	return all
}

func receive(t testing.TB, trees ...Tree) *receiver {
	t.Helper()
	return receiveBy(t, nil, trees...)
}

// receiveBy is receive with ears that the test runs.
func receiveBy(t testing.TB, ears *Ears, trees ...Tree) *receiver {
	t.Helper()
	r := &receiver{index: map[string]Stat{}, skips: map[string]string{}}
	w, err := New(Config{Trees: filled(trees...), Ears: ears, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Skipped: func(_ int, path, reason string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.skips[path] = reason
		}})
	if err != nil {
		t.Fatal(err)
	}
	r.w = w
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	all.Go(func() { r.takeIn(ctx) })
	all.Go(func() { r.sweeps(ctx) })
	t.Cleanup(func() { cancel(); all.Wait() })
	return r
}

func (r *receiver) takeIn(ctx context.Context) {
	for {
		select {
		case c := <-r.w.Calm():
			r.mu.Lock()
			if !r.index[c.Path].Same(c.Stat) {
				r.index[c.Path] = c.Stat
				r.calm = append(r.calm, c)
			}
			r.mu.Unlock()
			r.w.Done(c.Path)
		case <-ctx.Done():
			return
		}
	}
}

func (r *receiver) sweeps(ctx context.Context) {
	for {
		select {
		case d := <-r.w.Doubts():
			r.mu.Lock()
			r.doubts = append(r.doubts, d)
			r.mu.Unlock()
			_ = r.w.Sweep(ctx, d.Tree, d.Under, func(f Folder) error {
				for _, e := range f.Entries {
					path := filepath.Join(f.Path, e.Name)
					r.mu.Lock()
					known := r.index[path].Same(e.Stat)
					r.mu.Unlock()
					if !known && !r.w.Settling(path) {
						r.w.Again(path)
					}
				}
				return nil
			})
			r.mu.Lock()
			r.swept++
			r.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

func (r *receiver) has(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.index[path]
	return ok
}

func (r *receiver) doubted(why string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.doubts, func(d Doubt) bool { return d.Why == why })
}

// idle reports whether no path settles, no directory waits for a look, and each doubt was
// swept.
func (r *receiver) idle() bool {
	for _, t := range r.w.trees {
		t.watches.mu.Lock()
		busy := !t.watches.ever
		t.watches.mu.Unlock()
		t.looks.mu.Lock()
		busy = busy || len(t.looks.order) > 0 || t.looks.looking
		t.looks.mu.Unlock()
		if busy {
			return false
		}
	}
	s := r.w.settle
	s.mu.Lock()
	busy := len(s.all) > 0
	s.mu.Unlock()
	r.w.doubts.mu.Lock()
	busy = busy || len(r.w.doubts.queue) > 0
	r.w.doubts.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	return !busy && r.swept == len(r.doubts) && r.swept > 0
}

// upToDate waits until the receiver has seen everything that happened in tree before the
// call: it makes a file, which is seen after that.
func (r *receiver) upToDate(t testing.TB, tree string) {
	t.Helper()
	cookie := filepath.Join(tree, fmt.Sprintf("cookie-%d.bin", time.Now().UnixNano()))
	if err := os.WriteFile(cookie, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cookie", func() bool { return r.has(cookie) })
	// A look at a directory may still go on when the cookie was seen.
	quiet := 0
	eventually(t, "rest", func() bool {
		quiet++
		if !r.idle() {
			quiet = 0
		}
		return quiet > 20
	})
}

// script runs one file of testdata/watch.
type script struct {
	t     testing.TB
	dir   string
	tree  Tree
	r     *receiver
	files map[string]*os.File
}

// TestScript runs each testdata/watch/*.txt. A new file there is a new test.
//
// First come the steps. Then comes "Output:" with one line PATH SIZE for each version that
// must come out, in any order; a block "linux:" or "windows:" replaces it on that system.
// A line "skip PATH REASON" demands that PATH is skipped, "maybe PATH REASON" allows it.
// Paths begin with /, which is a new directory; the tree is /t. A word may be a quoted Go
// string. A line "needs WHAT" before the steps skips the script on a system that does not
// have that.
func TestScript(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "watch", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, engine := range engines() {
				t.Run(engine, func(t *testing.T) {
					able(t, engine)
					runScript(t, engine, string(text))
				})
			}
		})
	}
}

func runScript(t *testing.T, engine, text string) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, dir: dir, files: map[string]*os.File{},
		tree: Tree{Name: "t", Path: filepath.Join(dir, "t"), Settle: 50 * time.Millisecond, Engine: engine}}
	t.Cleanup(func() {
		for _, f := range s.files {
			f.Close()
		}
	})
	if err := os.Mkdir(s.tree.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	want, block := map[string][]string{}, ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasSuffix(line, ":"):
			block = strings.TrimSuffix(line, ":")
			want[block] = []string{}
		case block != "":
			want[block] = append(want[block], line)
		case strings.HasPrefix(line, "needs "):
			s.needs(strings.TrimPrefix(line, "needs "))
		default:
			words, err := fields(line)
			if err == nil {
				err = s.step(words)
			}
			if err != nil {
				t.Fatalf("line %d: %s: %v", i+1, line, err)
			}
		}
	}
	s.compare(want)
}

func (s *script) compare(want map[string][]string) {
	s.start()
	s.r.upToDate(s.t, s.tree.Path)
	lines, ok := want[runtime.GOOS]
	if !ok {
		lines = want["Output"]
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	var got, expected []string
	for path, reason := range s.r.skips {
		got = append(got, fmt.Sprintf("skip %q %s", s.short(path), reason))
	}
	for _, c := range s.r.calm {
		if !strings.Contains(c.Path, "cookie-") {
			got = append(got, fmt.Sprintf("%q %d", s.short(c.Path), c.Stat.Size))
		}
	}
	for _, line := range lines {
		words, err := fields(line)
		switch {
		case err == nil && len(words) == 2:
			expected = append(expected, fmt.Sprintf("%q %s", words[0], words[1]))
		case err == nil && len(words) == 3 && (words[0] == "skip" || words[0] == "maybe"):
			line := fmt.Sprintf("skip %q %s", words[1], words[2])
			if words[0] == "skip" || slices.Contains(got, line) {
				expected = append(expected, line)
			}
		default:
			s.t.Fatalf("output line %q is malformed: %v", line, err)
		}
	}
	sort.Strings(got)
	sort.Strings(expected)
	if !slices.Equal(got, expected) {
		s.t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(expected, "\n  "))
	}
}

// needs skips the test if this system does not have what the script needs. It tries it
// out.
func (s *script) needs(what string) {
	s.t.Helper()
	var missing error
	switch what {
	case "symlinks":
		missing = noSymlinks(s.t)
	case "any byte in names":
		missing = os.Mkdir(filepath.Join(s.t.TempDir(), "\n\xff"), 0o755)
	case "names of Windows":
		missing = s.special("mkdir-long", []string{"nul"})
	case "half a pair in names":
		missing = s.special("mkdir-long", []string{"\xed\xa0\xbd"})
	case "a removed folder's name at once": // even while the folder is open
		missing = namesLinger(s.t)
	case "folders removed while watched":
		if s.tree.Engine == "fsnotify" { // only this engine has the folders open
			missing = namesLinger(s.t)
		}
	case "old folders": // events from a folder that was made before the engine began
		missing = silent(s.tree.Engine)
	default:
		s.t.Fatalf("needs %s: nobody knows how to try that", what)
	}
	if missing != nil {
		s.t.Skipf("there is no %q here: %v", what, missing)
	}
}

// noSymlinks returns nil if a link can be made, and otherwise why it cannot.
func noSymlinks(t testing.TB) error {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		return err
	}
	st, err := Lstat(link)
	if err == nil && st.Mode&fs.ModeSymlink == 0 {
		err = errors.New("what was made is no link")
	}
	return err
}

// namesLinger returns nil if the name of a folder that was removed while it was open can
// be used again, and otherwise why it cannot.
func namesLinger(t testing.TB) error {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	f, err := openFolder(dir, ".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Mkdir(dir, 0o755)
}

func (s *script) short(path string) string {
	return filepath.ToSlash(strings.TrimPrefix(path, s.dir))
}

func (s *script) start() {
	if s.r == nil {
		s.r = receive(s.t, s.tree)
		eventually(s.t, "the first sweep", s.r.idle)
	}
}

func (s *script) path(word string) string { return filepath.Join(s.dir, filepath.FromSlash(word)) }

// step does one line. To write a file in one step is not atomic: the watcher may see each
// state in between.
func (s *script) step(words []string) error {
	args := words[1:]
	p := func(i int) string { return s.path(args[i]) }
	switch words[0] {
	case "watch":
		s.start()
		return nil
	case "exclude":
		s.tree.Exclude = append(s.tree.Exclude, args...)
		return nil
	case "include":
		s.tree.Include = append(s.tree.Include, args...)
		return nil
	case "mkdir":
		return os.Mkdir(p(0), 0o755)
	case "mkdir-p":
		return os.MkdirAll(p(0), 0o755)
	case "write":
		return put(p(0), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, args[1])
	case "append":
		return put(p(0), os.O_APPEND|os.O_WRONLY, args[1])
	case "mv":
		return os.Rename(p(0), p(1))
	case "rm":
		return os.Remove(p(0))
	case "rm-r":
		return os.RemoveAll(p(0))
	case "ln":
		return os.Link(p(0), p(1))
	case "symlink":
		return os.Symlink(p(0), p(1))
	case "begin":
		f, err := os.OpenFile(p(0), os.O_CREATE|os.O_WRONLY, 0o644)
		s.files[args[0]] = f
		return err
	case "put":
		_, err := s.files[args[0]].WriteString(args[1])
		return err
	case "end":
		return s.files[args[0]].Close()
	case "wait": // until the path has come out
		eventually(s.t, "calm "+args[0], func() bool { return s.r.has(p(0)) })
		return nil
	case "settling": // until the path is a candidate
		eventually(s.t, "settling "+args[0], func() bool { return s.r.w.Settling(p(0)) })
		return nil
	case "rest": // until everything before was seen
		s.r.upToDate(s.t, s.tree.Path)
		return nil
	case "armed": // until the tree is watched, or is not
		want := args[0] == "yes"
		eventually(s.t, "armed "+args[0], func() bool { return s.r.w.State()[0].Armed == want })
		return nil
	}
	return s.special(words[0], args)
}

func put(path string, flags int, text string) error {
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// fields splits a line into words. A word in double quotes is a Go string.
func fields(line string) ([]string, error) {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] != '"' {
			word, rest, _ := strings.Cut(line, " ")
			words, line = append(words, word), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, err
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		words, line = append(words, word), line[len(quoted):]
	}
	return words, nil
}
