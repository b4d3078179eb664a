// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"bytes"
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/scan"
)

// torrent is a lane of a few trees whose lines the test writes, hands to workers, and
// finishes; and what it knows of them.
type torrent struct {
	t      *testing.T
	disk   *disktest.Disk
	trees  []config.Tree
	paths  []string         // of the lines, in order
	at     map[string]int64 // by path: where its line begins
	most   int
	l      *lines
	turns  *turns
	stop   func()
	tail   *woken
	begun  map[string]bool // handed out by this process
	ended  map[string]int  // by path: outcomes
	newest map[string]int  // by tree: the last line that was handed out by this process
	out    []*push         // handed out, and not finished
	gaps   int             // that were seen
	kills  int
}

// woken is a Tail that the test wakes.
type woken struct {
	*journal.Follower
	mu    sync.Mutex
	moved chan struct{}
}

func (w *woken) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.moved
}

func (w *woken) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.moved)
	w.moved = make(chan struct{})
}

func newTorrent(t *testing.T, most int, trees ...string) *torrent {
	f := &torrent{t: t, disk: disktest.New(), at: map[string]int64{}, most: most, ended: map[string]int{}}
	for _, tree := range trees {
		f.trees = append(f.trees, config.Tree{Path: tree})
	}
	return f
}

// logs writes lines, one for each path.
func (f *torrent) logs(paths ...string) {
	f.t.Helper()
	file := f.file()
	st, err := file.Stat()
	must(f.t, err)
	var b bytes.Buffer
	for _, path := range paths {
		f.at[path] = st.Size() + int64(b.Len())
		fmt.Fprintln(&b, path)
	}
	_, err = file.Write(b.Bytes())
	must(f.t, err)
	must(f.t, file.Sync())
	f.paths = append(f.paths, paths...)
	if f.tail != nil {
		f.tail.wake()
	}
}

// file opens the lane's only segment.
func (f *torrent) file() journal.File {
	f.t.Helper()
	dirs, err := store.OpenFolders(store.Disk{Disk: f.disk}, "/state", "/state/journal")
	must(f.t, err)
	file, err := dirs.Journal.Open(journal.Base(journal.Live), os.O_RDWR|os.O_CREATE|os.O_APPEND)
	must(f.t, err)
	return file
}

// start lets a consumer of the lane begin.
func (f *torrent) start() {
	f.t.Helper()
	dirs, err := store.OpenFolders(store.Disk{Disk: f.disk}, "/state", "/state/journal")
	must(f.t, err)
	log := slog.New(slog.DiscardHandler)
	led, err := ledger.Open(f.disk, "/state/ledger", ledger.Bounds{Keep: 100, Max: -1, MinFree: -1}, log)
	must(f.t, err)
	c := Config{Trees: f.trees, Dirs: dirs, Ledger: led, Source: Apart{}, Metrics: NewMetrics(), Log: log, Outcome: func(sample.Outcome) {}}
	c.Scanner.Name, c.Scanner.Queue = "one", 200
	f.tail = &woken{Follower: journal.NewFollower(dirs.Journal, journal.Base(journal.Live)), moved: make(chan struct{})}
	c.Tail = func(lane string) journal.Tail {
		if lane == journal.Live {
			return f.tail
		}
		return journal.NewFollower(dirs.Journal, journal.Base(lane))
	}
	f.l, err = newLines(f.t.Context(), c)
	must(f.t, err)
	f.l.live.floods.most = f.most
	f.turns = newTurns(f.l, f.trees)
	f.begun, f.newest, f.out = map[string]bool{}, map[string]int{}, nil
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan error, 1)
	go func() { done <- f.l.follow(ctx, f.l.live) }()
	f.stop = func() {
		cancel()
		must(f.t, <-done)
	}
}

// take hands out the next line, if there is one, and holds it against what was handed out
// before.
func (f *torrent) take() *push {
	f.t.Helper()
	p := f.turns.fresh()
	if p == nil {
		return nil
	}
	path := p.sample.Path
	if f.begun[path] || f.ended[path] > 0 {
		f.t.Fatalf("%s is handed out twice", path)
	}
	f.begun[path] = true
	tree, n := f.l.live.floods.tree(path), slices.Index(f.paths, path)
	if folder := filepath.Dir(path); n < f.newest[folder] {
		f.t.Fatalf("%s comes after line %d of tree %q", path, f.newest[folder], tree)
	} else {
		f.newest[folder] = n
	}
	f.out = append(f.out, p)
	return p
}

// end records the outcome of a push that was handed out.
func (f *torrent) end(i int) {
	f.t.Helper()
	p := f.out[i]
	f.out = slices.Delete(f.out, i, i+1)
	out := p.outcome("one")
	out.Outcome, out.Verdict = sample.Done, scan.Unscanned
	if !f.l.end(f.t.Context(), []ended{{push: p, out: out}}) {
		f.t.Fatal("not recorded")
	}
	f.ended[p.sample.Path]++
}

// check holds the cursor and the counts against what the test knows.
func (f *torrent) check() {
	f.t.Helper()
	f.l.mu.Lock()
	cursor, waiting, bytes := f.l.live.cursor(), f.l.live.waiting(), f.l.live.floods.bytes
	st, err := f.file().Stat()
	must(f.t, err)
	gaps, counted := len(f.l.live.floods.gaps), f.l.live.ahead == 0 && f.l.live.read.Offset == st.Size()
	f.l.mu.Unlock()
	for _, path := range f.paths {
		if f.at[path] < cursor.Offset && f.ended[path] == 0 {
			f.t.Fatalf("the cursor is at %d, and %s at %d has no outcome", cursor.Offset, path, f.at[path])
		}
	}
	if most := f.most*3/2 + 2*(pushCost+64); bytes > most {
		f.t.Fatalf("%d bytes wait, %d may", bytes, most)
	}
	// What was finished before the start counts until it is passed over.
	open := len(f.paths) - len(f.ended)
	if f.gaps += gaps; counted && f.kills == 0 && int(waiting) != open {
		f.t.Fatalf("%d wait, and %d lines have no outcome", waiting, open)
	}
}

// until lets the lane be followed until ok.
func (f *torrent) until(what string, ok func() bool) {
	f.t.Helper()
	look := time.NewTicker(100 * time.Microsecond)
	defer look.Stop()
	for late := time.After(5 * time.Minute); !ok(); {
		select {
		case <-look.C:
		case <-late:
			f.t.Fatalf("waited for %s", what)
		}
	}
}

func path(tree, name string, i int) string {
	return filepath.FromSlash(fmt.Sprintf("%s/%s/%06d", tree, name, i))
}

// TestADeepFloodKeepsNobodyWaiting: the lines of one tree are many times as many as may
// wait. A line of another tree, and one outside of all, behind them are handed out at once;
// the others follow, in their order.
func TestADeepFloodKeepsNobodyWaiting(t *testing.T) {
	inMemory(t)
	const flood = 5000
	a, b := filepath.FromSlash("/srv/a"), filepath.FromSlash("/srv/b")
	f := newTorrent(t, 100*pushCost, a, b)
	var all []string
	for i := range flood {
		all = append(all, path(a, "d", i))
	}
	f.logs(all...)
	f.logs(path(b, "x", 1), path(filepath.FromSlash("/elsewhere"), "x", 1), path(a, "else", 1))
	f.start()
	f.until("the end of the lane", func() bool {
		f.l.mu.Lock()
		defer f.l.mu.Unlock()
		return len(f.l.live.queue) == cap(f.l.live.queue) || f.l.live.ahead == 0
	})
	before := map[string]int{}
	n := 0
	f.until("the lines behind the flood", func() bool {
		if p := f.take(); p != nil {
			n++
			if len(f.l.live.floods.tree(p.sample.Path)) == 0 || f.l.live.floods.tree(p.sample.Path) == b {
				before[p.sample.Path] = n
			}
			f.end(0)
		}
		f.check()
		return len(before) == 2
	})
	for p, n := range before {
		if n > 400 {
			t.Errorf("%s is handed out after %d others", p, n)
		}
	}
	f.until("all lines", func() bool {
		if f.take() != nil {
			f.end(0)
		}
		return len(f.ended) == len(f.paths)
	})
	f.l.mu.Lock()
	defer f.l.mu.Unlock()
	if lane := f.l.live; lane.waiting() != 0 || len(lane.floods.gaps)+len(lane.floods.late)+len(lane.floods.kept)+lane.floods.bytes != 0 || lane.cursor() != lane.read {
		t.Errorf("%d wait: %+v", lane.waiting(), lane.floods)
	}
	f.stop()
}

// TestFloodsAgainstAModel: floods of several trees come and go, lines are finished in any
// order, and now and then the process is killed. Each line has one outcome in the end, no
// cursor passes one that has none, and what is counted as waiting is right.
func TestFloodsAgainstAModel(t *testing.T) {
	inMemory(t)
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			trees := []string{filepath.FromSlash("/srv/a"), filepath.FromSlash("/srv/b"), filepath.FromSlash("/srv/c")}
			f := newTorrent(t, 60*pushCost, trees...)
			trees = append(trees, filepath.FromSlash("/elsewhere"))
			lines := 0
			more := func() {
				tree := trees[r.IntN(len(trees))]
				var all []string
				for range 1 + r.IntN(400) {
					at := tree
					if r.IntN(20) == 0 {
						at = trees[r.IntN(len(trees))]
					}
					all = append(all, path(at, "d", lines))
					lines++
				}
				f.logs(all...)
			}
			more()
			f.start()
			f.until("all outcomes", func() bool {
				if lines < 2000 && r.IntN(4) == 0 {
					more()
				}
				for range r.IntN(40) {
					f.take()
				}
				for range r.IntN(40) {
					if len(f.out) > 0 {
						f.end(r.IntN(len(f.out)))
					}
				}
				f.check()
				if r.IntN(10) == 0 {
					must(t, f.l.saveCursors())
				}
				f.l.mu.Lock()
				gap := len(f.l.live.floods.late)+len(f.l.live.floods.gaps) > 0 || r.IntN(20) == 0
				f.l.mu.Unlock()
				if gap && r.IntN(20) == 0 && f.kills < 10 {
					f.kills++
					must(t, f.l.saveCursors())
					f.stop()
					f.disk = f.disk.Cut(0)
					f.start()
				}
				return lines >= 2000 && len(f.ended) == len(f.paths)
			})
			f.until("nothing waits", func() bool {
				f.l.mu.Lock()
				defer f.l.mu.Unlock()
				return f.l.live.waiting() == 0 && f.l.live.cursor() == f.l.live.read
			})
			f.stop()
			if f.kills == 0 || f.gaps < 10 {
				t.Errorf("killed %d times, %d gaps were seen", f.kills, f.gaps)
			}
		})
	}
}

// TestAGapHoldsTheCursor, and with it the mark of the ledger: what was handed out behind it
// may have its outcome since then.
func TestAGapHoldsTheCursor(t *testing.T) {
	inMemory(t)
	l := lane{open: list.New(), floods: newFloods(nil), read: journal.Cursor{Pos: journal.Pos{Segment: 1, Offset: 50}}}
	early, late := ledger.ParseMark("aa:1"), ledger.ParseMark("bb:2")
	push := func(offset int64, m ledger.Mark) *push {
		return &push{line: line{at: sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 1, Offset: offset}}, mark: m}}
	}
	hold := func(offset int64, want ledger.Mark) {
		t.Helper()
		m, ok := l.readBackFrom()
		if at := l.cursor(); at.Offset != offset || m != want || ok != (want != ledger.Mark{}) {
			t.Errorf("at %d with %v, want %d with %v", at.Offset, m, offset, want)
		}
	}
	hold(50, ledger.Mark{})
	l.floods.gaps["a"] = &gap{from: journal.Cursor{Pos: journal.Pos{Segment: 1, Offset: 20}}, mark: early}
	hold(20, early)
	l.open.PushBack(push(30, late))
	hold(20, early)
	l.floods.insert("a", push(10, early))
	hold(10, early)
	delete(l.floods.gaps, "a")
	delete(l.floods.late, "a")
	hold(30, late)
}

// TestALineInAGapThatGoesBadIsTold: it could be read when it was passed over, and cannot be
// when its gap is read. No cursor passes it untold.
func TestALineInAGapThatGoesBadIsTold(t *testing.T) {
	inMemory(t)
	f := newTorrent(t, 20*(pushCost+10), "/a", "/b")
	var paths []string
	for i := range 200 {
		paths = append(paths, "/a/"+string(rune('a'+i%26))+strings.Repeat("x", i/26+1))
	}
	f.logs(paths...)
	f.start()
	f.until("a gap", func() bool {
		f.l.mu.Lock()
		defer f.l.mu.Unlock()
		g := f.l.live.floods.gaps["/a"]
		return g != nil && g.n > 150
	})
	bad := paths[190] // far within the gap
	file := f.file()
	st, err := file.Stat()
	must(t, err)
	all := make([]byte, st.Size())
	_, err = file.ReadAt(all, 0)
	must(t, err)
	for i := f.at[bad]; all[i] != '\n'; i++ {
		all[i] = 'z'
	}
	must(t, file.Truncate(0))
	_, err = file.Write(all)
	must(t, err)
	must(t, file.Sync())
	ended := 0
	f.until("all others to end", func() bool {
		if p := f.take(); p != nil {
			f.end(len(f.out) - 1)
			ended++
		}
		return ended == len(paths)-1
	})
	f.until("it to be told", func() bool {
		f.l.mu.Lock()
		defer f.l.mu.Unlock()
		return len(f.l.live.bad.untold) > 0
	})
	f.stop()
}
