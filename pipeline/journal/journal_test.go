// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var silent = slog.New(slog.DiscardHandler)

func open(t testing.TB, dir string) *Series {
	t.Helper()
	s, err := OpenSeries(Config{Dir: dir, Base: "monitor.log", Lane: Live, CutSize: 1 << 20}, silent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// folderOf opens dir until the test ends.
func folderOf(t testing.TB, dir string) Folder {
	t.Helper()
	d, err := OS.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func put(t testing.TB, s *Series, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if _, _, err := s.Append([]byte(l + "\n")); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t testing.TB, dir string, from Pos, tail Tail) (lines []string, after Pos) {
	t.Helper()
	r, err := NewReader(folderOf(t, dir), "monitor.log", from, tail, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		l, ok, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return lines, r.At()
		}
		lines = append(lines, string(l.Text))
	}
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			all = append(all, e.Name())
		}
	}
	return all
}

func at(hhmm string) time.Time {
	when, err := time.Parse("2006-01-02 15:04", "2026-11-22 "+hhmm)
	if err != nil {
		panic(err)
	}
	return when
}

func TestSegmentNamesSortInOrderOfCutting(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	// The clock stands still, runs, is set back, and jumps.
	for i, when := range []string{"12:00", "12:00", "12:01", "11:00", "11:30", "23:59"} {
		put(t, s, fmt.Sprint(i))
		if err := s.Cut(at(when)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"monitor.log", "monitor.log.20261122-1200.log", "monitor.log.20261122-1200_000001.log", "monitor.log.20261122-1201.log",
		"monitor.log.20261122-1201_000001.log", "monitor.log.20261122-1201_000002.log", "monitor.log.20261122-2359.log",
	}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Fatalf("names\n got %q\nwant %q", got, want)
	}
	if got, _ := read(t, dir, Pos{}, s); !slices.Equal(got, []string{"0", "1", "2", "3", "4", "5"}) {
		t.Fatalf("lines in order of cutting: %q", got)
	}
}

func TestEmptySegmentIsNotCut(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for range 3 {
		if err := s.Cut(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, dir); len(got) != 1 {
		t.Fatalf("an empty segment was cut: %q", got)
	}
}

func TestHeaderIsFirstLineAndNumbersGrow(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a")
	if err := s.Cut(at("12:00")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir)
	put(t, s, "b")
	for name, want := range map[string]string{
		"monitor.log.20261122-1200.log": "{\"segment\":1,\"lane\":\"live\",\"format\":1}\na\n",
		"monitor.log":                   "{\"segment\":2,\"lane\":\"live\",\"format\":1}\nb\n",
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestSizeCut(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenSeries(Config{Dir: dir, Base: "monitor.log", Lane: Live, CutSize: 200}, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf("line %02d %s", i, strings.Repeat("x", 50)))
	}
	put(t, s, want...)
	if got := names(t, dir); len(got) < 6 {
		t.Fatalf("no size cuts: %q", got)
	}
	if got, _ := read(t, dir, Pos{}, s); !slices.Equal(got, want) {
		t.Fatalf("read over cuts: %q", got)
	}
}

// TestTornTail: the open cuts off the part of a last line that a crash left, and the next
// line begins on a line of its own.
func TestTornTail(t *testing.T) {
	whole := "{\"segment\":1,\"lane\":\"live\",\"format\":1}\nline one\nline two\n"
	for n := 0; n <= len(whole); n++ {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "monitor.log"), []byte(whole[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		put(t, s, "after")
		var want []string
		for _, l := range strings.SplitAfter(whole[:n], "\n") {
			if strings.HasPrefix(l, "line") && strings.HasSuffix(l, "\n") {
				want = append(want, l[:len(l)-1])
			}
		}
		want = append(want, "after")
		if got, _ := read(t, dir, Pos{}, s); !slices.Equal(got, want) {
			t.Fatalf("cut at byte %d: read %q, want %q", n, got, want)
		}
		s.Close()
	}
}

// TestNoActiveSegment is a crash between the rename and the create of a cut.
func TestNoActiveSegment(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a")
	s.Close()
	if err := os.Rename(filepath.Join(dir, "monitor.log"), filepath.Join(dir, "monitor.log.20261122-1200.log")); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	put(t, s, "b")
	if got, after := read(t, dir, Pos{}, s); !slices.Equal(got, []string{"a", "b"}) || after.Segment != 2 {
		t.Fatalf("read %q up to %v", got, after)
	}
}

func TestManyAppendersOneOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var all sync.WaitGroup
	for w := range 64 {
		all.Go(func() {
			for i := range 50 {
				first, after, err := s.Append(fmt.Appendf(nil, "%d %d\n", w, i))
				if err != nil || !first.Before(after) {
					t.Errorf("append: %v %v %v", first, after, err)
				}
				if d := s.Durable(); d.Before(after) {
					t.Errorf("append returned at %v, durable is %v", after, d)
				}
			}
		})
	}
	all.Wait()
	lines, _ := read(t, dir, Pos{}, s)
	next := map[int]int{}
	for _, l := range lines {
		var w, i int
		if _, err := fmt.Sscan(l, &w, &i); err != nil || next[w] != i {
			t.Fatalf("line %q: want number %d of that appender", l, next[w])
		}
		next[w]++
	}
	if len(lines) != 64*50 {
		t.Fatalf("%d lines", len(lines))
	}
}

func TestAppendTellsWhereLinesLie(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "one")
	first, after, err := s.Append([]byte("two\n"), []byte("three\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, dir, first, s); !slices.Equal(got, []string{"two", "three"}) {
		t.Fatalf("from first: %q", got)
	}
	put(t, s, "four")
	if got, _ := read(t, dir, after, s); !slices.Equal(got, []string{"four"}) {
		t.Fatalf("from after: %q", got)
	}
}

func TestReaderHearsOfAppends(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	r, err := NewReader(folderOf(t, dir), "monitor.log", Pos{}, s, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 100 {
		changed := r.Changed()
		if l, ok, err := r.Next(t.Context()); ok || err != nil {
			t.Fatalf("line %q, %v before it was appended", l.Text, err)
		}
		go func() {
			if i%10 == 0 {
				if err := s.Cut(time.Now()); err != nil {
					t.Error(err)
				}
			}
			put(t, s, fmt.Sprint(i))
		}()
		for ok := false; !ok; {
			<-changed
			changed = r.Changed()
			var l Line
			if l, ok, err = r.Next(t.Context()); err != nil || ok && string(l.Text) != fmt.Sprint(i) {
				t.Fatalf("read %q, %v, want %d", l.Text, err, i)
			}
		}
	}
}

// TestShellScriptAppends: readers return lines that others append to the active segment;
// and if such a line has no end, ours begins on a new line.
func TestShellScriptAppends(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "ours")
	script := func(text string) {
		f, err := os.OpenFile(filepath.Join(dir, "monitor.log"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	script("/srv/bare\n")
	if err := s.Adopt(); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, dir, Pos{}, s); !slices.Equal(got, []string{"ours", "/srv/bare"}) {
		t.Fatalf("adopted: %q", got)
	}
	script("/srv/half")
	put(t, s, "ours too")
	if got, _ := read(t, dir, Pos{}, s); !slices.Equal(got, []string{"ours", "/srv/bare", "/srv/half", "ours too"}) {
		t.Fatalf("after an open line: %q", got)
	}
}

func TestPruneKeepsWhatACursorNeeds(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for i := range 10 {
		put(t, s, fmt.Sprint(i))
		if err := s.Cut(at("12:00").Add(time.Duration(i) * time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		before  uint64
		keep, n int
	}{{0, 0, 0}, {1, 0, 0}, {5, 4, 0}, {5, 3, 1}, {5, 0, 3}, {7, 1, 1}, {99, 2, 3}} {
		n, err := s.Prune(step.keep, -1, Before(step.before))
		if err != nil || n != step.n {
			t.Fatalf("prune before %d, keep %d: %d, %v; want %d", step.before, step.keep, n, err, step.n)
		}
	}
	s.Close()
	s = open(t, dir)
	if d := s.Durable(); d.Segment != 11 {
		t.Fatalf("numbers went back: %v", d)
	}
}

// TestForeignFolder: another program's segments have no header. They keep their numbers
// when that program renames and prunes them.
func TestForeignFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write("monitor.log.20261122-1159.log", "/a\n/b\n")
	write("monitor.log", "/c\n/d\n/half")
	tail := NewFollower(folderOf(t, dir), "monitor.log")
	got, pos := read(t, dir, Pos{}, tail)
	if !slices.Equal(got, []string{"/a", "/b", "/c", "/d"}) {
		t.Fatalf("first reading: %q", got)
	}
	write("monitor.log", " line\n")
	if err := os.Rename(filepath.Join(dir, "monitor.log"), filepath.Join(dir, "monitor.log.20261122-1200.log")); err != nil {
		t.Fatal(err)
	}
	write("monitor.log", "/e\n")
	if err := os.Remove(filepath.Join(dir, "monitor.log.20261122-1159.log")); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, dir, pos, tail); !slices.Equal(got, []string{"/half line", "/e"}) {
		t.Fatalf("from %v after the other's cut and prune: %q", pos, got)
	}
	// Our own producer takes over the folder: its numbers are above all of theirs.
	s := open(t, dir)
	put(t, s, "ours")
	if got, _ := read(t, dir, pos, s); !slices.Equal(got, []string{"/half line", "/e", "ours"}) {
		t.Fatalf("after the take-over: %q", got)
	}
}

func TestFollowerHearsOfAppends(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	tail := NewFollower(folderOf(t, dir), "monitor.log")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Follow(ctx, silent, tail) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	r, err := NewReader(folderOf(t, dir), "monitor.log", Pos{}, tail, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 50 {
		if i%7 == 3 {
			if err := s.Cut(time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		put(t, s, fmt.Sprint(i))
		for {
			changed := r.Changed()
			l, ok, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				if string(l.Text) != fmt.Sprint(i) {
					t.Fatalf("read %q, want %d", l.Text, i)
				}
				break
			}
			select {
			case <-changed:
			case <-time.After(10 * time.Second):
				t.Fatalf("line %d was not heard of", i)
			}
		}
	}
}

func TestLongLineIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a", strings.Repeat("x", 3*MaxLine), "b")
	r, err := NewReader(folderOf(t, dir), "monitor.log", Pos{}, s, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	for {
		l, ok, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if l.Long {
			got = append(got, "long")
		} else {
			got = append(got, string(l.Text))
		}
	}
	if !slices.Equal(got, []string{"a", "long", "b"}) {
		t.Fatalf("read %.60q", got)
	}
}

func TestCursorAheadOfTheJournal(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a", "b")
	for _, from := range []Pos{{9, 0}, {1, 1 << 40}} {
		if got, _ := read(t, dir, from, s); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("from %v: %q; nothing may be passed over", from, got)
		}
	}
}

func TestCursorFile(t *testing.T) {
	d := folderOf(t, t.TempDir())
	if _, err := LoadCursor(d, "clamav", Live); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("missing cursor: %v", err)
	}
	want := Cursor{Pos{7, 42}, SumOf([]byte("before"))}
	if err := SaveCursor(d, "clamav", Live, want); err != nil {
		t.Fatal(err)
	}
	if at, err := LoadCursor(d, "clamav", Live); at != want || err != nil {
		t.Fatalf("loaded %v, %v", at, err)
	}
	for _, bad := range []string{"", "7", "7:", ":1", "7:-1", "x:1", "7:1:1"} {
		if p, err := ParsePos(bad); err == nil {
			t.Errorf("%q was read as %v", bad, p)
		}
	}
}

// TestDamagedCursorIsNotRead: no text but the whole one of this scanner and lane is read
// as a cursor.
func TestDamagedCursorIsNotRead(t *testing.T) {
	d := folderOf(t, t.TempDir())
	if err := SaveCursor(d, "clamav", Live, Cursor{Pos{7, 42}, SumOf([]byte("before"))}); err != nil {
		t.Fatal(err)
	}
	text, err := LoadText(d, "clamav."+Live)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, text, name, lane string) {
		t.Helper()
		if err := SaveText(d, name+"."+lane, text); err != nil {
			t.Fatal(err)
		}
		if at, err := LoadCursor(d, name, lane); !errors.Is(err, errCursor) {
			t.Errorf("%s: %q is read as %v, %v", what, text, at, err)
		}
	}
	for bit := range 8 * len(text) {
		flipped := []byte(text)
		flipped[bit/8] ^= 1 << (bit % 8)
		refused("a flipped bit", string(flipped), "clamav", Live)
	}
	for n := range len(text) {
		refused("cut short", text[:n], "clamav", Live)
	}
	refused("of the other lane", text, "clamav", Backlog)
	refused("of another scanner", text, "cape", Live)
	refused("twice", text+text, "clamav", Live)
}

// TestCursorFitsTheJournal: a cursor fits only the journal that its scanner read.
func TestCursorFitsTheJournal(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "one", "two")
	if err := s.Cut(time.Now()); err != nil {
		t.Fatal(err)
	}
	put(t, s, "three")
	d := folderOf(t, dir)
	r, err := NewReader(d, Base(Live), Pos{}, s, s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var places []Cursor
	for {
		line, ok, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		places = append(places, line.Cursor(), line.Behind())
	}
	for _, c := range places {
		if f, err := c.Fit(d, Base(Live)); !f.OK || f.Sum != c.Sum || err != nil {
			t.Errorf("%v: %+v, %v", c, f, err)
		}
		old := Cursor{Pos: c.Pos}
		if f, err := old.Fit(d, Base(Live)); !f.OK || f.Sum != c.Sum || err != nil {
			t.Errorf("the old form of %v: %+v, %v", c, f, err)
		}
		other := Cursor{c.Pos, SumOf([]byte("other"))}
		within := Cursor{Pos: Pos{c.Segment, c.Offset + 1}}
		for _, c := range []Cursor{other, within} {
			if f, err := c.Fit(d, Base(Live)); f.OK || err != nil {
				t.Errorf("%v: %+v, %v", c, f, err)
			}
		}
	}
	end := s.Durable()
	for _, c := range []Cursor{{Pos{2, end.Offset + 9}, SumOf(nil)}, {Pos{5, 3}, SumOf(nil)}} {
		if f, err := c.Fit(d, Base(Live)); f.OK || f.End != end || err != nil {
			t.Errorf("ahead: %v: %+v, %v", c, f, err)
		}
	}
	if f, err := (Cursor{Pos{0, 0}, SumOf(nil)}).Fit(d, Base(Live)); !f.OK || err != nil {
		t.Errorf("the beginning: %+v, %v", f, err)
	}
}

func TestLockIsHeldOnce(t *testing.T) {
	state, dir := t.TempDir(), t.TempDir()
	l, err := OS.TakeLock("producer", state, dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OS.TakeLock("producer", t.TempDir(), dir); !errors.Is(err, ErrLocked) {
		t.Fatalf("second producer on the journal folder: %v", err)
	}
	c, err := OS.TakeLock("consumer", state, dir)
	if err != nil {
		t.Fatalf("consumer beside the producer: %v", err)
	}
	if err := errors.Join(c.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if l, err = OS.TakeLock("producer", state, dir); err != nil {
		t.Fatalf("after release: %v", err)
	}
	l.Close()
}

func TestPlantedLinkIsRefused(t *testing.T) {
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	link := filepath.Join(dir, "monitor.log")
	err := os.Symlink(out, link)
	if err == nil {
		_, err = os.Lstat(link) // Wine reports success and makes no link
	}
	if err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if s, err := OpenSeries(Config{Dir: dir, Base: "monitor.log", Lane: Live}, silent); err == nil {
		s.Close()
		t.Fatal("a link in place of the active segment was opened")
	}
	if _, err := os.Lstat(out); err == nil {
		t.Fatal("the link was followed")
	}
}

// meddling is a Folder that calls a func once, just before it opens the active segment.
type meddling struct {
	Folder
	once func()
}

func (m *meddling) Open(name string, flag int) (File, error) {
	if f := m.once; f != nil && name == "monitor.log" {
		m.once = nil
		f()
	}
	return m.Folder.Open(name, flag)
}

// If a segment is sealed between the listing and the look into the active one, the
// reader does not pass over it.
func TestReaderSeesASegmentSealedWhileItLists(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a")
	if err := s.Cut(time.Now()); err != nil {
		t.Fatal(err)
	}
	put(t, s, "b")
	d := &meddling{Folder: folderOf(t, dir)}
	r, err := NewReader(d, "monitor.log", Pos{}, s, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, want := range []string{"a", "b", "c"} {
		line, ok, err := r.Next(t.Context())
		if err != nil || !ok || string(line.Text) != want {
			t.Fatalf("%q %v %v, want %s", line.Text, ok, err, want)
		}
		d.once = func() {
			if err := s.Cut(time.Now()); err != nil {
				t.Error(err)
			}
			if want == "a" {
				put(t, s, "c")
			}
		}
	}
}

// Another program's segment is known by its file and its first line together. One of
// them alone is not enough.
func TestForeignSegmentsAreToldApart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "monitor.log")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	number := func() uint64 {
		t.Helper()
		c, err := openCatalog(folderOf(t, dir), "monitor.log")
		if err != nil {
			t.Fatal(err)
		}
		all, err := c.list()
		if err != nil || len(all) == 0 {
			t.Fatalf("%v %v", all, err)
		}
		return all[len(all)-1].Number
	}
	write("/a\n")
	first := number()
	write("/b\n") // the same file, cut short and written again
	second := number()
	if err := os.Rename(path, path+".20261122-1200.log"); err != nil {
		t.Fatal(err)
	}
	write("/b\n") // another file
	if third := number(); first == second || second == third || number() != third {
		t.Errorf("numbers %d %d %d", first, second, third)
	}
}
