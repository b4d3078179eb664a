// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// numbers returns the number of each watch, by the path of its folder.
func (r *receiver) numbers() map[string]int32 {
	a := r.w.trees[0].watches
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[string]int32{}
	a.set.nodes.all(func(r ref) { all[a.set.path(r)] = a.set.nodes.of(r).number })
	return all
}

// A rename of a folder moves its node: all watches at and below it stay as they are, and
// what lies there comes out under its new name.
func TestRenameKeepsWatches(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "t")
	for i := range 50 {
		write(t, filepath.Join(tree, "a", fmt.Sprint(i), "deep", "f"), "x")
	}
	write(t, filepath.Join(tree, "b", "f"), "x")
	r := receive(t, Tree{Name: "t", Path: tree, Engine: "inotify"})
	r.upToDate(t, tree)
	before := r.numbers()
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(tree, from), filepath.Join(tree, to)); err != nil {
			t.Fatal(err)
		}
		// A sweep that meets the rename finds its folders gone, and would set their watches
		// anew under the new path.
		r.upToDate(t, tree)
	}
	rename("a", "b/c")
	rename("b/c/7", "seven")
	rename("b", "d")
	want := map[string]int32{}
	for path, number := range before {
		rel, _ := filepath.Rel(tree, path)
		switch {
		case Within("a/7", rel):
			rel = "seven" + rel[len("a/7"):]
		case Within("a", rel):
			rel = "d/c" + rel[len("a"):]
		case Within("b", rel):
			rel = "d" + rel[len("b"):]
		}
		want[filepath.Join(tree, rel)] = number
	}
	got := r.numbers()
	for path, number := range want {
		if got[path] != number {
			t.Errorf("the watch of %s is %d, want %d", path, got[path], number)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d watches, want %d", len(got), len(want))
	}
	for _, path := range []string{"d/c/8/deep/f", "seven/deep/f", "d/f"} {
		if !r.has(filepath.Join(tree, path)) {
			t.Errorf("%s did not come out", path)
		}
	}
	late := filepath.Join(tree, "d/c/9/deep/late")
	write(t, late, "x")
	eventually(t, "a file below it", func() bool { return r.has(late) })

	// Out of the tree: none of its watches is left.
	if err := os.Rename(filepath.Join(tree, "d"), filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	r.upToDate(t, tree)
	if s := r.w.State()[0]; s.Directories != 3 || s.Unwatched != 0 || len(r.numbers()) != 3 {
		t.Errorf("state %+v, watches %v", s, r.numbers())
	}
	// And back again.
	if err := os.Rename(filepath.Join(dir, "out"), filepath.Join(tree, "e")); err != nil {
		t.Fatal(err)
	}
	r.upToDate(t, tree)
	if s := r.w.State()[0]; s.Directories != len(before) || !r.has(filepath.Join(tree, "e/c/9/deep/late")) {
		t.Errorf("state %+v", s)
	}
	if r.doubted(WhyLost) || r.doubted(WhyError) {
		t.Errorf("doubts %+v", r.doubts)
	}
}

// A folder that is renamed to where nothing is watched loses its watches, as does one
// below it.
func TestRenameIntoExcluded(t *testing.T) {
	tree := t.TempDir()
	write(t, filepath.Join(tree, "a", "tmp", "x", "f"), "x")
	write(t, filepath.Join(tree, "c", "x", "f"), "x")
	r := receive(t, Tree{Name: "t", Path: tree, Engine: "inotify", Exclude: []string{"b/tmp/**", "no/**"}})
	r.upToDate(t, tree)
	for from, to := range map[string]string{"a": "b", "c": "no"} {
		if err := os.Rename(filepath.Join(tree, from), filepath.Join(tree, to)); err != nil {
			t.Fatal(err)
		}
	}
	r.upToDate(t, tree)
	if got := r.numbers(); len(got) != 2 || got[filepath.Join(tree, "b")] == 0 {
		t.Errorf("watches %v", got)
	}
}

// A folder that is renamed to the place of another tree is that tree's.
func TestRenameToAnotherTree(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", "x", "f"), "x")
	r := receive(t, Tree{Name: "t", Path: dir, Engine: "inotify"}, Tree{Name: "in", Path: filepath.Join(dir, "in"), Engine: "inotify"})
	eventually(t, "the watches", func() bool { return len(r.numbers()) == 3 && r.has(filepath.Join(dir, "a", "x", "f")) })
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "in")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file", func() bool { return r.has(filepath.Join(dir, "in", "x", "f")) })
	eventually(t, "only the root is ours", func() bool { return len(r.numbers()) == 1 })
}

// Two folders that change places, and one that takes the place of an empty one, are where
// they are.
func TestRenameOntoAnother(t *testing.T) {
	tree := t.TempDir()
	write(t, filepath.Join(tree, "a", "x", "f"), "x")
	write(t, filepath.Join(tree, "b", "y", "f"), "x")
	if err := os.Mkdir(filepath.Join(tree, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := receive(t, Tree{Name: "t", Path: tree, Engine: "inotify"})
	r.upToDate(t, tree)
	a, b, empty := filepath.Join(tree, "a"), filepath.Join(tree, "b"), filepath.Join(tree, "empty")
	if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		t.Skipf("the file system cannot exchange names: %v", err)
	}
	r.upToDate(t, tree)
	if err := unix.Rename(a, empty); err != nil {
		t.Fatal(err)
	}
	r.upToDate(t, tree)
	for _, path := range []string{filepath.Join(b, "x", "late"), filepath.Join(empty, "y", "late")} {
		write(t, path, "x")
		eventually(t, path, func() bool { return r.has(path) })
	}
	if s := r.w.State()[0]; s.Directories != 5 || s.Unwatched != 0 {
		t.Errorf("state %+v", s)
	}
}

// TestFoldersAreWhereTheyAre: while folders are made, renamed, exchanged, moved out of the
// tree and back and removed, as fast as it goes, no watch is lost or left under another
// name.
func TestFoldersAreWhereTheyAre(t *testing.T) { each(t, foldersAreWhereTheyAre) }

func foldersAreWhereTheyAre(t *testing.T, engine string) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(dir, "t")
	write(t, filepath.Join(tree, "0", "0", "f"), "x")
	write(t, filepath.Join(dir, "out", "0", "0", "f"), "x")
	r := receive(t, Tree{Name: "t", Path: tree, Engine: engine})
	r.upToDate(t, tree)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	some := func() string {
		path := tree
		if random.IntN(4) == 0 {
			path = filepath.Join(dir, "out")
		}
		for range 1 + random.IntN(3) {
			path = filepath.Join(path, strconv.Itoa(random.IntN(4)))
		}
		return path
	}
	for range 3000 { // many of these steps cannot be done
		switch from, to := some(), some(); random.IntN(20) {
		case 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
			if os.Mkdir(from, 0o755) == nil {
				_ = os.WriteFile(filepath.Join(from, "f"), nil, 0o644)
			}
		case 11:
			_ = os.RemoveAll(from)
		case 12, 13:
			_ = unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
		default:
			_ = unix.Rename(from, to)
		}
	}
	r.upToDate(t, tree)
	want := 0
	err = filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			want++
			late := filepath.Join(path, "late")
			write(t, late, "x")
			eventually(t, late, func() bool { return r.has(late) })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d folders", want)
	if engine == "fanotify" {
		want = 1
	}
	if s := r.w.State()[0]; s.Directories != want || s.Unwatched != 0 || s.Lost != 0 {
		t.Errorf("%d folders, state %+v", want, s)
	}
}

// What is told of renames can be wrong after lost events, and in any order. Nothing hangs,
// and each folder that left is told of.
func TestTornRenames(t *testing.T) {
	a := newWatches(&ground{Tree: Tree{Path: "/t"}}, nil)
	s := &inotify{of: a}
	a.source, a.set = s, populated("/t", "/t", "/t/a", "/t/a/b", "/t/x")
	const folder = unix.IN_ISDIR
	var got []string
	tell := func(r record) {
		s.tell(r, func(e fsnotify.Event) { got = append(got, fmt.Sprint(e.Name, " ", e.Op&0xff)) }, func(err error) { got = append(got, err.Error()) })
	}
	expect := func(what string, want ...string) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
		got = nil
	}
	tell(record{number: 1, mask: unix.IN_MOVED_FROM | folder, cookie: 1, name: "a"})
	tell(record{number: 3, mask: unix.IN_MOVED_TO | folder, cookie: 1, name: "a"})
	expect("into itself", "/t/a RENAME", "/t/a/b/a CREATE")
	tell(record{number: 1, mask: unix.IN_MOVED_FROM | folder, cookie: 2, name: "a"})
	tell(record{number: 1, mask: unix.IN_MOVED_TO | folder, cookie: 2, name: "x"})
	expect("onto another", "/t/a RENAME", "/t/x CREATE")
	tell(record{number: 1, mask: unix.IN_MOVED_TO | folder, cookie: 3, name: "new"})
	expect("from outside", "/t/new CREATE")
	tell(record{number: 1, mask: unix.IN_MOVED_FROM | folder, cookie: 4, name: "x"})
	expect("half a rename")
	tell(record{number: 4, mask: unix.IN_MOVE_SELF})
	expect("out of the tree", "/t/x RENAME")
	tell(record{number: 1, mask: unix.IN_MOVED_FROM | folder, cookie: 5, name: "x"})
	tell(record{number: -1, mask: unix.IN_Q_OVERFLOW})
	expect("lost", "/t/x RENAME", fsnotify.ErrEventOverflow.Error())
	tell(record{number: 99, mask: unix.IN_CREATE, name: "f"})
	expect("a watch that is not known")
	for cookie := range uint32(leavingMost + 1) {
		tell(record{number: 1, mask: unix.IN_MOVED_FROM | folder, cookie: 100 + cookie, name: []string{"a", "x"}[cookie%2]})
	}
	if len(s.leaving) > leavingMost || len(got) == 0 {
		t.Errorf("%d folders are leaving, told %q", len(s.leaving), got)
	}
	got = nil
	tell(record{number: 3, mask: unix.IN_IGNORED})
	expect("the watch ended", "/t/a/b REMOVE")
	if r := a.set.get("/t/a/b"); a.set.nodes.of(r).watched || a.set.watched != 3 {
		t.Error("its watch is not forgotten")
	}
	tell(record{number: 1, mask: unix.IN_MOVE_SELF})
	expect("the root", "/t RENAME")
}

// A known file that is rewritten through a memory map or libaio raises no event but that of
// its close, of a map when it goes: it comes out soon after that, without a sweep.
func TestRewrittenWithoutAnEvent(t *testing.T) {
	for name, rewrite := range map[string]func(*testing.T, *os.File, []byte){"map": throughMap, "libaio": throughAIO} {
		eachBut(t, func(t *testing.T, engine string) {
			tree, r := oneBy(t, engine)
			path := filepath.Join(tree.Path, "f")
			write(t, path, "before")
			r.upToDate(t, tree.Path)
			r.mu.Lock()
			before, swept := r.index[path], r.swept
			r.mu.Unlock()
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			rewrite(t, f, []byte("after!"))
			eventually(t, "the new version", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return !r.index[path].Same(before)
			})
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.swept != swept {
				t.Errorf("%s: a sweep found it", name)
			}
		}, "fsnotify")
	}
}

func throughMap(t *testing.T, f *os.File, text []byte) {
	mapped, err := unix.Mmap(int(f.Fd()), 0, len(text), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	copy(mapped, text)
	if err := unix.Munmap(mapped); err != nil {
		t.Fatal(err)
	}
}

func throughAIO(t *testing.T, f *os.File, text []byte) {
	const write = 1 // IOCB_CMD_PWRITE
	block := struct {
		data              uint64
		key, flags        uint32
		op, priority      uint16
		fd                uint32
		buf, size, offset uint64
		_                 uint64
		_, _              uint32
	}{op: write, fd: uint32(f.Fd()), buf: uint64(uintptr(unsafe.Pointer(&text[0]))), size: uint64(len(text))}
	blocks, events, ring := [1]*byte{(*byte)(unsafe.Pointer(&block))}, [4]uint64{}, uintptr(0)
	call := func(number, a, b, c, d uintptr) {
		t.Helper()
		if _, _, err := unix.Syscall6(number, a, b, c, d, 0, 0); err != 0 {
			t.Skipf("libaio: %v", err)
		}
	}
	call(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&ring)), 0, 0)
	call(unix.SYS_IO_SUBMIT, ring, 1, uintptr(unsafe.Pointer(&blocks)), 0)
	call(unix.SYS_IO_GETEVENTS, ring, 1, 1, uintptr(unsafe.Pointer(&events)))
	call(unix.SYS_IO_DESTROY, ring, 0, 0, 0)
	runtime.KeepAlive(text)
	if events[2] != uint64(len(text)) {
		t.Fatalf("written: %d", int64(events[2]))
	}
	f.Close()
}
