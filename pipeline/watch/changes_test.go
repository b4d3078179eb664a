// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"github.com/fsnotify/fsnotify"
)

// entryOf describes one entry of a buffer.
type entryOf struct {
	action uint32
	name   []uint16
	next   int // a wrong value of the field; 0: the right one
	size   int // the same
}

func named(action uint32, name string) entryOf {
	return entryOf{action: action, name: utf16.Encode([]rune(name))}
}

// buffer chains entries as the system does. Each offset is a multiple of four.
func buffer(entries ...entryOf) []byte {
	var b []byte
	for i, e := range entries {
		head := len(b)
		b = append(b, make([]byte, entryHead)...)
		for _, u := range e.name {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		size, next := 2*len(e.name), 0
		if i < len(entries)-1 {
			for len(b)%4 != 0 {
				b = append(b, 0)
			}
			next = len(b) - head
		}
		if e.next != 0 {
			next = e.next
		}
		if e.size != 0 {
			size = e.size
		}
		binary.LittleEndian.PutUint32(b[head:], uint32(next))
		binary.LittleEndian.PutUint32(b[head+4:], e.action)
		binary.LittleEndian.PutUint32(b[head+8:], uint32(size))
	}
	return b
}

// read returns the events that digest finds in b, and its error.
func read(b []byte) (all []string, err error) {
	err = digest(b, uint32(len(b)), nil, func(op fsnotify.Op, name string) {
		all = append(all, fmt.Sprintf("%v %q", op, name))
	})
	return all, err
}

func TestChanges(t *testing.T) {
	half := entryOf{action: actionAdded, name: []uint16{'a', 0xd83d, 'b', 0xdc00, 0xd83d}}
	got, err := read(buffer(
		named(actionAdded, "a"), named(actionRemoved, `d\e`), named(3, "über"), named(actionOldName, "old name"),
		named(actionNewName, "😀"), named(99, "..."), half))
	want := []string{`CREATE "a"`, `REMOVE "d\\e"`, `WRITE "über"`, `RENAME "old name"`, `CREATE "😀"`, `WRITE "..."`,
		`CREATE "a\xed\xa0\xbdb\xed\xb0\x80\xed\xa0\xbd"`}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	e := hint(filepath.Join("t", "ree"), fsnotify.Create, `d\e`)
	if e.Name != filepath.Join("t", "ree", "d", "e") {
		t.Errorf("an event of %q", e.Name)
	}
}

// An offset that is not a multiple of four is followed too: Wine has such offsets.
func TestChangesNotAligned(t *testing.T) {
	b := buffer(named(actionAdded, "a"))
	binary.LittleEndian.PutUint32(b, 14)
	b = append(b, buffer(named(actionAdded, "b"))...)
	if got, err := read(b); err != nil || len(got) != 2 {
		t.Errorf("got %s, %v", got, err)
	}
}

// A malformed entry means lost events; the events before it are still found.
func TestChangesMalformed(t *testing.T) {
	good := named(actionAdded, "good")
	for name, c := range map[string]struct {
		b    []byte
		told int
	}{
		"shorter than an entry":    {make([]byte, entryHead-1), 0},
		"cut in the head":          {buffer(good, named(1, "x"))[:24], 1},
		"cut in the name":          {buffer(good, named(1, "name"))[:38], 1},
		"next is itself":           {buffer(good, entryOf{name: []uint16{'x'}, next: 1}, good), 2},
		"next lies in the name":    {buffer(good, entryOf{name: []uint16{'x', 'y'}, next: 12}, good), 2},
		"next goes back":           {buffer(good, entryOf{name: []uint16{'x'}, next: -20}, good), 2},
		"next is the end":          {buffer(good, entryOf{name: []uint16{'x', 'y'}, next: 16}), 2},
		"next is beyond the end":   {buffer(good, entryOf{name: []uint16{'x'}, next: 1 << 30}, good), 2},
		"a name of no bytes":       {buffer(good, entryOf{}, good), 1},
		"a name of odd length":     {buffer(good, entryOf{name: []uint16{'x', 'y'}, size: 3}, good), 1},
		"a name beyond the end":    {buffer(good, entryOf{name: []uint16{'x'}, size: 400}), 1},
		"a name of 4 GiB":          {buffer(good, entryOf{name: []uint16{'x'}, size: -2}), 1},
		"a name that leaves":       {buffer(good, named(1, `..\..\x`)), 1},
		"a name that goes through": {buffer(good, named(1, `a\..\x`)), 1},
		"an absolute name":         {buffer(good, named(1, `\x`)), 1},
		"a drive":                  {buffer(good, named(1, `C:\x`)), 1},
		"a stream":                 {buffer(good, named(1, `f:stream`)), 1},
		"a slash":                  {buffer(good, named(1, `a/b`)), 1},
		"a NUL":                    {buffer(good, named(1, "a\x00b")), 1},
		"an empty element":         {buffer(good, named(1, `a\\b`)), 1},
	} {
		got, err := read(c.b)
		if !errors.Is(err, errMalformed) || len(got) != c.told {
			t.Errorf("%s: told %s, %v", name, got, err)
		}
	}
}

// The results of a read.
func TestDigest(t *testing.T) {
	b := buffer(named(actionAdded, "a"))
	for name, c := range map[string]struct {
		n    uint32
		err  error
		want error
	}{
		"events":               {uint32(len(b)), nil, nil},
		"no bytes":             {0, nil, fsnotify.ErrEventOverflow},
		"told to list":         {0, enumDir, fsnotify.ErrEventOverflow},
		"told to list, bytes":  {4, enumDir, fsnotify.ErrEventOverflow},
		"more than the buffer": {uint32(len(b)) + 1, nil, errMalformed},
		"access denied":        {0, syscall.Errno(5), errDeaf},
		"server gone":          {0, syscall.Errno(64), errDeaf},
		"more data":            {24, syscall.Errno(234), errDeaf},
	} {
		told := 0
		err := digest(b, c.n, c.err, func(fsnotify.Op, string) { told++ })
		if !errors.Is(err, c.want) || c.want != nil && told > 0 || c.want == nil && told != 1 {
			t.Errorf("%s: %v, %d told", name, err, told)
		}
	}
}

// injected is a source whose reads the test supplies.
type injected struct {
	root  string
	reads chan completion
	ended chan bool
}

type completion struct {
	b   []byte
	err error
}

func (*injected) Add(string, *os.File) (int32, error) { return 0, nil }
func (*injected) Remove(watching) error               { return nil }
func (*injected) Loses() bool                         { return false }
func (*injected) WatchList() []string                 { return nil }
func (i *injected) Close() error                      { close(i.reads); return nil }

func (i *injected) pump(event func(fsnotify.Event), trouble func(error)) {
	defer close(i.ended)
	for c := range i.reads {
		if err := digest(c.b, uint32(len(c.b)), c.err, func(op fsnotify.Op, name string) { event(hint(i.root, op, name)) }); err != nil {
			trouble(err)
		}
	}
}

// inject replaces the source of the first tree.
func inject(t *testing.T, r *receiver) *injected {
	i := &injected{root: r.w.trees[0].Path, reads: make(chan completion), ended: make(chan bool)}
	tree := r.w.trees[0]
	tree.watches.mu.Lock()
	old := tree.watches.source
	tree.watches.source = i
	tree.watches.mu.Unlock()
	if old != nil {
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
	}
	go i.pump(func(e fsnotify.Event) { tree.event(i, e) }, func(err error) { tree.trouble(i, err) })
	return i
}

// Both forms of an overflow, and a malformed buffer, mean lost events: they are counted,
// and a sweep finds the files.
func TestInjectedOverflowIsADoubt(t *testing.T) {
	for name, c := range map[string]completion{
		"no bytes": {}, "told to list": {nil, enumDir}, "malformed": {[]byte{1, 2, 3}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tree, r := one(t)
			source := inject(t, r)
			write(t, filepath.Join(tree.Path, "d", "lost"), "x")
			source.reads <- c
			eventually(t, "the doubt", func() bool { return r.doubted(WhyLost) })
			eventually(t, "the file", func() bool { return r.has(filepath.Join(tree.Path, "d", "lost")) })
			if s := r.w.State()[0]; s.Lost != 1 || !s.Armed {
				t.Errorf("state %+v", s)
			}
			// The source reads on, and a new folder is listed after its event.
			write(t, filepath.Join(tree.Path, "new", "deep", "f"), "x")
			source.reads <- completion{buffer(named(actionAdded, "new")), nil}
			eventually(t, "the file in the new folder", func() bool { return r.has(filepath.Join(tree.Path, "new", "deep", "f")) })
		})
	}
}

// Any other error ends the source: the tree is armed again with a new source, and swept.
func TestInjectedErrorArmsAgain(t *testing.T) {
	tree, r := one(t)
	source := inject(t, r)
	write(t, filepath.Join(tree.Path, "f"), "x")
	source.reads <- completion{nil, syscall.Errno(5)}
	<-source.ended // so it was closed
	// The error and the new source raise a doubt for the same scope: the later one may be
	// dropped.
	eventually(t, "the doubt", func() bool { return r.doubted(WhyArmed) || r.doubted(WhyError) })
	eventually(t, "the file", func() bool { return r.has(filepath.Join(tree.Path, "f")) })
	at := r.w.trees[0].watches
	eventually(t, "a new source", func() bool {
		at.mu.Lock()
		defer at.mu.Unlock()
		return at.armed && at.source != nil && at.source != source
	})
	r.upToDate(t, tree.Path)
}

// A handle of a whole tree also reports paths in another tree below it and in excluded
// folders. They are dropped.
func TestInjectedEventsOfOthersAreDropped(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(dir, "in")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	r := receive(t, Tree{Name: "outer", Path: dir, Exclude: []string{"tmp/**"}, Engine: "fsnotify"},
		Tree{Name: "inner", Path: inner, Engine: "sweep"})
	eventually(t, "the first sweep", r.idle)
	source := inject(t, r)
	write(t, filepath.Join(inner, "d", "f"), "x")
	write(t, filepath.Join(dir, "tmp", "d", "f"), "x")
	write(t, filepath.Join(dir, "mine"), "x")
	source.reads <- completion{buffer(named(actionAdded, `in\d`), named(actionAdded, `in\d\f`), named(3, `tmp\d`),
		named(actionAdded, `tmp\d\f`), named(actionAdded, "mine")), nil}
	eventually(t, "our own", func() bool { return r.has(filepath.Join(dir, "mine")) })
	r.mu.Lock()
	defer r.mu.Unlock()
	for path := range r.index {
		if !strings.HasSuffix(path, "mine") {
			t.Errorf("%s came out", path)
		}
	}
	for path := range r.skips {
		t.Errorf("%s was looked at", path)
	}
}

func FuzzChanges(f *testing.F) {
	f.Add(buffer(named(actionAdded, "a"), named(actionRemoved, `d\e`), named(3, "über")))
	f.Add(buffer(entryOf{action: actionAdded, name: []uint16{0xd83d, 0xdc00, 0xdc00, 0xd83d}}))
	f.Add(buffer(entryOf{name: []uint16{'x'}, next: 1}, named(1, "b")))
	f.Add(buffer(entryOf{name: []uint16{'x', 'y'}, size: 3}))
	f.Add(buffer(named(1, `..\..\x`)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		told := 0
		err := changes(b, func(_ fsnotify.Op, name string) {
			told++
			if path := hint("/t", fsnotify.Create, name).Name; filepath.Clean(path) != path && filepath.Separator == '/' {
				t.Errorf("%q is not clean", path)
			}
			if !Within("/t", hint("/t", fsnotify.Create, name).Name) {
				t.Errorf("%q is not in the tree", name)
			}
		})
		if err != nil && !errors.Is(err, errMalformed) {
			t.Errorf("%v", err)
		}
		if told == 0 && err == nil || told > len(b)/(entryHead+2) {
			t.Errorf("%d told of %d bytes, %v", told, len(b), err)
		}
	})
}
