// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "t")
	write(t, filepath.Join(root, "d", "f"), "content")
	write(t, filepath.Join(dir, "out", "f"), "outside")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Symlink(filepath.Join(dir, "out"), filepath.Join(root, "away")))
	must(os.Symlink("d", filepath.Join(root, "near")))
	must(os.Symlink("d/f", filepath.Join(root, "last")))
	must(unix.Mkfifo(filepath.Join(root, "pipe"), 0o644))
	must(unix.Mknod(filepath.Join(root, "sock"), unix.S_IFSOCK|0o644, 0))
	name := strings.Repeat("n", 255)
	write(t, filepath.Join(root, name), "x")
	must(os.Symlink(root, filepath.Join(dir, "link")))

	for rel, want := range map[string]string{
		"away/f": "symlink", "near/f": "symlink", "last": "symlink", "away": "symlink",
		"../out/f": "outside", "d/../../out/f": "outside", "/etc/passwd": "outside", "": "outside",
		"pipe": "fifo", "sock": "socket", "d": "directory", ".": "directory",
	} {
		f, _, err := Open(root, rel)
		var r *Refusal
		if !errors.As(err, &r) || r.Reason != want {
			t.Errorf("Open(%q) = %v, want %s", rel, err, want)
		}
		if f != nil {
			f.Close()
		}
	}
	var r *Refusal
	if _, _, err := Open("/dev", "null"); !errors.As(err, &r) || r.Reason != "device" {
		t.Errorf("Open of a device: %v", err)
	}
	for _, rel := range []string{"gone", "gone/f", "d/f/f"} {
		if _, _, err := Open(root, rel); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q) = %v, want fs.ErrNotExist", rel, err)
		}
	}
	for _, c := range [][2]string{{root, "d/f"}, {root, name}, {filepath.Join(dir, "link"), "d/f"}} {
		f, st, err := Open(c[0], c[1])
		if err != nil {
			t.Errorf("Open(%q, %.20q): %v", c[0], c[1], err)
			continue
		}
		if again, err := Fstat(f); err != nil || !again.Same(st) || st.Size == 0 {
			t.Errorf("Fstat = %+v, %v, want %+v", again, err, st)
		}
		f.Close()
	}
}

// stepBelow, which is used if openat2 is missing, must refuse the same paths as openat2.
func TestStepBelow(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "d", "f"), "x")
	if err := os.Symlink("d", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("f", filepath.Join(dir, "d", "last")); err != nil {
		t.Fatal(err)
	}
	root, err := openRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	for rel, want := range map[string]error{
		"d/f": nil, "link/f": unix.ELOOP, "d/last": unix.ELOOP, "d/f/g": unix.ENOTDIR, "gone/f": unix.ENOENT,
	} {
		fd, err := stepBelow(root, rel, unix.O_RDONLY)
		if !errors.Is(err, want) {
			t.Errorf("stepBelow(%q) = %v, want %v", rel, err, want)
		}
		if err == nil {
			unix.Close(fd)
		}
	}
}

// A file whose path is longer than the system takes in one call is found by a sweep,
// settles, and can be opened. The engines inotify and fanotify tell of it too.
func TestPathBeyondTheLimit(t *testing.T) { each(t, pathBeyondTheLimit) }

func pathBeyondTheLimit(t *testing.T, engine string) {
	dir := t.TempDir()
	name := strings.Repeat("d", 250)
	at, err := unix.Open(dir, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	rel := ""
	for range 20 {
		if err := unix.Mkdirat(at, name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, name, unix.O_PATH, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(at)
		at, rel = next, rel+name+"/"
	}
	defer unix.Close(at)
	touch := func(name string) {
		t.Helper()
		fd, err := unix.Openat(at, name, unix.O_CREAT|unix.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	touch("f")
	f, _, err := Open(dir, rel+"f")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	r := receive(t, Tree{Name: "t", Path: dir, Engine: engine})
	eventually(t, "the file", func() bool { return r.has(filepath.Join(dir, rel, "f")) })
	eventually(t, "the first sweep", r.idle)
	s := r.w.State()[0]
	scopes, limit := r.w.trees[0].watches.lacking()
	if engine != "fsnotify" {
		want := map[string]int{"inotify": 21, "fanotify": 1}[engine]
		if s.Unwatched != 0 || s.Directories != want || limit || len(scopes) != 0 {
			t.Errorf("state %+v", s)
		}
		touch("g")
		eventually(t, "the event", func() bool { return r.has(filepath.Join(dir, rel, "g")) })
		return
	}
	if s.Unwatched == 0 || s.Limit != "" {
		t.Errorf("state %+v: directories beyond the limit count as unwatched", s)
	} else if len(s.Troubles) == 0 || !errors.Is(s.Troubles[0].Err, unix.ENAMETOOLONG) {
		t.Errorf("the first of them is not named with its error: %+v", s.Troubles)
	}
	// What no event tells of is swept each minute: these directories, and not the tree.
	if limit || len(scopes) != 1 || scopes[0] == dir {
		t.Errorf("to be swept: %.100q, limit %t", scopes, limit)
	}
}

// A folder is opened in one call only if no element of its path is a link; the longer way
// decides about all others.
func TestOpenStraight(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "t", "d", "f"), "x")
	for link, to := range map[string]string{"link": "t", "t/near": "d"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for rel, want := range map[string]bool{"t": true, "t/d": true, "link": false, "link/d": false, "t/near": false, "t/d/f": false, "gone": false} {
		f := openStraight(filepath.Join(dir, rel))
		if f != nil {
			f.Close()
		}
		if (f != nil) != want {
			t.Errorf("%s: opened %t", rel, f != nil)
		}
	}
	f, err := openFolder(filepath.Join(dir, "link"), "d")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// TestReadingMovesNoAtime of a file that we own.
func TestReadingMovesNoAtime(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "x")
	// Older than the mtime, so that relatime would move it.
	if err := os.Chtimes(path, time.Unix(1, 0), time.Now()); err != nil {
		t.Fatal(err)
	}
	f, _, err := Open(dir, "f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = f.Read(make([]byte, 10))
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Atim.Sec != 1 {
		t.Errorf("atime is %d", st.Atim.Sec)
	}
}

func TestLeaseOfAnother(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "x")
	fd, err := unix.Open(filepath.Join(dir, "f"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatalf("take a lease: %v", err)
	}
	// Open breaks the lease: this process gets SIGIO, and must not die of it.
	if _, _, err := Open(dir, "f"); !errors.Is(err, ErrBusy) {
		t.Errorf("Open of a leased file: %v, want ErrBusy", err)
	}
	if what, _ := writer(dir, "f", Stat{}, nil); what != written {
		t.Errorf("a leased file is %v, want not yet", what)
	}
	unix.Close(fd)
	f, _, err := Open(dir, "f")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestWriterIsSeen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "x")
	if what, _ := writer(dir, "f", Stat{}, nil); what != settled {
		t.Errorf("without a writer: %v", what)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if what, _ := writer(dir, "f", Stat{}, nil); what != written {
		t.Errorf("with a writer: %v", what)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if what, _ := writer(dir, "f", Stat{}, nil); what != written {
		t.Errorf("with a writable mapping: %v", what)
	}
	if err := unix.Munmap(mapped); err != nil {
		t.Fatal(err)
	}
	if what, st := writer(dir, "f", Stat{}, nil); what != settled || st.Size != 1 {
		t.Errorf("at last: %v, %+v", what, st)
	}
}

// eachByFolder runs a test with each engine that watches each folder.
func eachByFolder(t *testing.T, test func(t *testing.T, engine string)) {
	eachBut(t, test, "windows", "fanotify")
}

// The kernel's queue overflows while the reader is held up: the tree is swept, and then
// no watch is wrong.
func TestOverflow(t *testing.T) { eachByFolder(t, overflow) }

func overflow(t *testing.T, engine string) {
	tree, r := oneBy(t, engine)
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || limit > 100_000 {
		t.Fatalf("fs.inotify.max_queued_events is %d", limit)
	}
	files := [2]*os.File{}
	for i := range files {
		f, err := os.Create(filepath.Join(tree.Path, fmt.Sprint("busy", i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	if err := os.MkdirAll(filepath.Join(tree.Path, "a", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the watches", func() bool { return r.w.State()[0].Directories == 3 })
	r.w.trees[0].watches.mu.Lock()
	for i := range limit + buffered + 10_000 {
		// Write two files in turn, because the kernel merges events that are alike.
		if _, err := files[i%2].WriteString("x"); err != nil {
			t.Fatal(err)
		}
	}
	// These events are lost: a directory is renamed, and its name is used again.
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	must(os.Rename(filepath.Join(tree.Path, "a"), filepath.Join(tree.Path, "b")))
	must(os.MkdirAll(filepath.Join(tree.Path, "a", "x"), 0o755))
	must(os.WriteFile(filepath.Join(tree.Path, "a", "x", "lost"), nil, 0o644))
	r.w.trees[0].watches.mu.Unlock()

	eventually(t, "the doubt", func() bool { return r.doubted(WhyLost) })
	lost := filepath.Join(tree.Path, "a", "x", "lost")
	eventually(t, "the lost file", func() bool { return r.has(lost) })
	if s := r.w.State()[0]; s.Lost == 0 {
		t.Error("nothing counted as lost")
	}
	for _, f := range files {
		f.Close()
	}
	r.upToDate(t, tree.Path)
	for _, name := range []string{"a/x/f", "b/x/f", "a/g", "b/g"} {
		path := filepath.Join(tree.Path, name)
		write(t, path, "x")
		eventually(t, name+" after the overflow", func() bool { return r.has(path) })
	}
}

// A file comes out soon after its close: the median is far below Settle.
func TestLatency(t *testing.T) { each(t, latency) }

func latency(t *testing.T, engine string) {
	tree, r := oneBy(t, engine)
	const n = 200
	closed := map[string]time.Time{}
	for i := range n {
		path := filepath.Join(tree.Path, fmt.Sprint(i))
		write(t, path, "some content")
		closed[path] = time.Now()
		eventually(t, path, func() bool { return r.has(path) })
	}
	var late []time.Duration
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calm {
		late = append(late, c.At.Sub(closed[c.Path]))
	}
	slices.Sort(late)
	median := late[len(late)/2]
	t.Logf("settled after close: median %v, worst %v", median, late[len(late)-1])
	if median > 20*time.Millisecond {
		t.Errorf("median %v is no better than waiting", median)
	}
}
