// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// populated returns the set of the folders paths, each watched, with numbers from 1 on.
func populated(root string, paths ...string) *folders {
	f := newFolders(filepath.FromSlash(root))
	for i, p := range paths {
		f.set(f.put(filepath.FromSlash(p)), place{1, uint64(i + 1)}, int32(i+1), 1, 0, nil)
	}
	return f
}

func TestFoldersDrop(t *testing.T) {
	native := filepath.FromSlash
	f := populated("/t", "/t", "/t/a", "/t/a/b", "/t/a/b/c", "/t/ab", "/t/a/d")
	f.fail(f.get(native("/t/ab")), errMoved)
	if f.watched != 5 || len(f.failing) != 1 {
		t.Errorf("%d watched, %d not", f.watched, len(f.failing))
	}
	var gone []int32
	for _, w := range f.drop(f.get(native("/t/a"))) {
		gone = append(gone, w.number)
	}
	slices.Sort(gone)
	if want := []int32{2, 3, 4, 6}; !slices.Equal(gone, want) {
		t.Errorf("dropped %d", gone)
	}
	if f.watched != 1 || len(f.failing) != 1 || f.at(place{1, 3}) != 0 || f.at(place{1, 5}) == 0 || f.by(3) != 0 || f.by(5) == 0 {
		t.Errorf("left: %+v", f)
	}
	f.drop(f.get(native("/t/ab")))
	if f.nodes.of(f.get(native("/t"))).first != 0 || len(f.failing) != 0 {
		t.Error("the root still has a child")
	}
}

// A watch without a number is removed by its path.
func TestFoldersDropByPath(t *testing.T) {
	native := filepath.FromSlash
	f := newFolders(native("/"))
	for i, p := range []string{"/", "/a", "/a/b"} {
		f.set(f.put(native(p)), place{1, uint64(i + 1)}, 0, 1, 0, nil)
	}
	if got := f.drop(f.get(native("/a"))); len(got) != 2 || got[0].path != native("/a/b") || got[1].path != native("/a") {
		t.Errorf("dropped %+v", got)
	}
}

// A rename of a folder moves all below it, and is refused where it cannot be the whole
// story.
func TestFoldersMove(t *testing.T) {
	native := filepath.FromSlash
	f := populated("/t", "/t", "/t/a", "/t/a/b", "/t/a/b/c", "/t/x")
	a, b, x := f.get(native("/t/a")), f.get(native("/t/a/b")), f.get(native("/t/x"))
	for name, refused := range map[string]bool{
		"the name is taken": f.move(a, f.get(native("/t")), "x"),
		"below itself":      f.move(a, b, "y"),
		"itself":            f.move(a, a, "y"),
	} {
		if refused {
			t.Errorf("moved, although: %s", name)
		}
	}
	if !f.move(b, x, "new") {
		t.Fatal("refused")
	}
	if got := f.path(f.by(4)); got != native("/t/x/new/c") {
		t.Errorf("the folder below is %s", got)
	}
	if f.get(native("/t/a/b")) != 0 || f.get(native("/t/x/new/c")) == 0 || f.nodes.of(a).first != 0 {
		t.Error("its old name is still there, or its new one is not")
	}
	if got := f.drop(x); len(got) != 3 || f.watched != 2 {
		t.Errorf("dropped %+v, left %d", got, f.watched)
	}
}

// TestFoldersAreWhatAMapIs: after any steps the set holds what a map of paths holds.
func TestFoldersAreWhatAMapIs(t *testing.T) {
	native := filepath.FromSlash
	f, want := newFolders(native("/t")), map[string]int32{}
	f.set(f.put(native("/t")), place{1, 1}, 1, 1, 0, nil)
	want[native("/t")] = 1
	random := rand.New(rand.NewPCG(1, 2))
	some := func() string {
		all := slices.Sorted(maps.Keys(want))
		return all[random.IntN(len(all))]
	}
	for step := range int32(4000) {
		path, number := some(), step+2
		switch name := strconv.Itoa(random.IntN(20)); random.IntN(5) {
		case 0, 1: // a new one
			if path = join(path, name); want[path] == 0 && strings.Count(path, string(filepath.Separator)) < 12 {
				f.set(f.put(path), place{uint64(random.IntN(3)), uint64(number)}, number, 1, 0, nil)
				want[path] = number
			}
		case 2: // set again, elsewhere
			f.set(f.get(path), place{7, uint64(number)}, number, 2, 0, nil)
			want[path] = number
		case 3:
			if path != f.root && random.IntN(3) == 0 {
				f.drop(f.get(path))
				maps.DeleteFunc(want, func(p string, _ int32) bool { return Within(path, p) })
			}
		case 4:
			to := join(some(), name)
			can := path != f.root && want[to] == 0 && !Within(path, to)
			if path == f.root {
				continue
			}
			if got := f.move(f.get(path), f.get(filepath.Dir(to)), name); got != can {
				t.Fatalf("step %d: move %s to %s: %t", step, path, to, got)
			}
			if can {
				for _, p := range slices.Collect(maps.Keys(want)) {
					if n := want[p]; Within(path, p) {
						delete(want, p)
						want[to+p[len(path):]] = n
					}
				}
			}
		}
		if step%50 == 0 {
			same(t, f, want)
		}
	}
	same(t, f, want)
	if f.drop(f.get(f.root)); f.names.used+f.places.used+f.numbers.used != 0 || f.nodes.next != 0 {
		t.Error("an empty set holds something")
	}
}

func same(t *testing.T, f *folders, want map[string]int32) {
	t.Helper()
	got := map[string]int32{}
	f.nodes.all(func(r ref) { got[f.path(r)] = f.nodes.of(r).number })
	if !maps.Equal(got, want) || f.watched != len(want) {
		t.Fatalf("got %d %v, want %v", f.watched, got, want)
	}
	for path, number := range want {
		r := f.get(path)
		if r == 0 || f.by(number) != r || f.at(f.place(r)) != r {
			t.Fatalf("%s is not found by its path, place or number", path)
		}
	}
}

// A folder takes few bytes, whatever its path is.
func TestFoldersTakeLittleMemory(t *testing.T) {
	const n = 200_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	f := newFolders(filepath.FromSlash("/srv/a/long/way/to/the/tree"))
	for i := range n {
		path := filepath.Join(f.root, fmt.Sprint("group-", i/10_000), fmt.Sprint("day-", i/100), fmt.Sprint("folder-", i))
		f.set(f.put(path), place{1, uint64(i + 1)}, int32(i+1), 1, 0, nil)
	}
	each := float64(heap()-before) / n
	t.Logf("%.0f bytes for each folder", each)
	if each > 130 {
		t.Errorf("%.0f bytes for each folder", each)
	}
	runtime.KeepAlive(f)
}
