// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// mutation is a sync that the program could forget: the function that asks for it, and
// the file. Its scene must show that it is missing.
type mutation struct {
	name  string
	call  string
	kind  string
	of    string // the name of its file or folder, without digits; empty: any
	scene scene
}

// scene drives a pipeline while skip lets operations be forgotten, cuts the power, and
// returns what is wrong with the state that is left. It returns nothing if nothing is
// forgotten.
type scene func(t *testing.T, skip func(disktest.Op) error) (wrong []string)

// mutations are all syncs of the program. TestEverySyncIsAMutation holds that, and
// docs/crash-safety.md lists them.
var mutations = []mutation{
	{"lines are not synced", "journal.(*Series).flush", "sync", "monitor.log", waves(nothing)},
	{"swept lines are not synced", "journal.(*Series).flush", "sync", "backlog.log", waves(nothing)},
	{"outcomes are not synced", "journal.(*Series).flush", "sync", "verdicts.log", waves(nothing)},
	{"the journal's folder is not synced", "journal.(*Series).begin", "syncdir", "journal", waves(nothing)},
	{"the ledger's folder is not synced", "journal.(*Series).begin", "syncdir", "ledger", waves(nothing)},
	{"a sealed segment's name is not synced before the next has its own", "journal.(*Series).cut", "syncdir", "journal", waves((*disktest.Disk).CutOutOfOrder)},
	{"the state's folder is not synced", "OpenFolder", "syncdir", "state", waves(nothing)},
	{"small files are not synced", "journal.replace", "sync", "", waves(nothing)},
	{"numbers of segments of other programs are not synced", "journal.replace", "sync", ".segments.new", renumbered},
	{"the folder of those numbers is not synced", "journal.replace", "syncdir", "journal", renumbered},
	{"the folder of small files is not synced", "journal.replace", "syncdir", "cursors", waves(nothing)},
	{"the word of a wrong canary is not synced", "journal.replace", "sync", "clamav.sight.new", blinded(nothing)},
	{"the lines of verdicts that are taken back are not synced", "journal.replace", "sync", "clamav..back.new", blinded(nothing)},
	{"lines that a killed process left are not synced", "journal.(*Series).begin", "sync", "monitor.log", killed("monitor.log")},
	{"outcomes that a killed process left are not synced", "journal.(*Series).begin", "sync", "verdicts.log", killed("verdicts.log")},
	{"the index's key that a killed process left is not synced", "index.indexKey", "syncdir", "index", killed("index")},
	{"lines that others appended are not synced", "journal.(*Series).Adopt", "sync", "", byOthers((*journal.Series).Adopt)},
	{"lines that others appended are not synced before a cut", "journal.(*Series).cut", "sync", "", byOthers(func(s *journal.Series) error { return s.Cut(time.Now()) })},
	{"a segment is not synced by who only reads it", "journal.(*Follower).upto", "sync", "", followed},
	{"the end of a pause is not synced", "consumer.(*Consumer).Pause", "syncdir", "", resumed},
	{"the index is not synced", "index.(*Index).Sync", "store sync", ".log", known},
	{"the index is not synced after it forgot damaged lines", "producer.(*damages).drop", "store sync", ".log", unreadable(badPath, config.ConsumerOnly, (*disktest.Disk).CutOutOfOrder)},
	{"the index is not synced after it forgot a file that was away", "producer.(*strays).forget", "store sync", ".log", away},
}

func (m mutation) is(op disktest.Op) bool {
	name := filepath.Base(op.Path)
	if m.ofStore() {
		return op.Kind == m.kind && filepath.Ext(name) == m.of && waits(m.call)
	}
	return op.Call == m.call && op.Kind == m.kind && (m.of == "" || undated(name) == m.of)
}

// ofStore reports whether m is a sync of the index's store. We know such a sync by the
// function that waits for it.
func (m mutation) ofStore() bool { return m.kind == "store sync" }

// waits reports whether the function call waits for a sync of the index. Pebble syncs
// in its own goroutine, so this reads the stacks of all goroutines. A test that uses it
// must run alone.
func waits(call string) bool {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, after := range strings.Split(string(stacks), "index.(*Index).Persist(")[1:] {
		lines := strings.SplitN(after, "\n", 4) // its arguments, its place, its caller
		if len(lines) > 2 && strings.Contains(lines[2], "/"+call+"(") {
			return true
		}
	}
	return false
}

// TestMutationsAreFound takes one sync after the other out of the program. Each time a
// cut must show that it is missing.
func TestMutationsAreFound(t *testing.T) {
	inMemory(t)
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			if !m.ofStore() {
				t.Parallel()
			}
			var mu sync.Mutex
			skipped := 0
			wrong := m.scene(t, func(op disktest.Op) error {
				if !m.is(op) {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				skipped++
				return disktest.ErrSkip
			})
			if skipped == 0 {
				t.Fatal("there is no such operation")
			}
			if len(wrong) == 0 {
				t.Fatalf("%d operations were skipped and no cut shows it", skipped)
			}
			t.Logf("found: %s", wrong[0])
		})
	}
}

// TestScenesOfMutationsAreSound: if nothing is forgotten, no cut of a scene shows
// anything. TestCrashAtEveryOperation holds that for the scene waves, and
// TestCrashWhileVerdictsAreTakenBack for blinded.
func TestScenesOfMutationsAreSound(t *testing.T) {
	inMemory(t)
	for name, s := range map[string]scene{
		"killed": killed(""), "followed": followed, "renumbered": renumbered, "resumed": resumed, "noted": known, "held": held, "away": away,
		"unreadable": unreadable(badPath, config.ConsumerOnly, (*disktest.Disk).CutOutOfOrder),
		"adopted":    byOthers((*journal.Series).Adopt), "cut": byOthers(func(s *journal.Series) error { return s.Cut(time.Now()) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, w := range s(t, nil) {
				t.Error(w)
			}
		})
	}
}

// TestEverySyncIsAMutation finds each place in the sources that syncs.
func TestEverySyncIsAMutation(t *testing.T) {
	want := map[string]int{} // number of kinds of syncs by function
	for _, m := range mutations {
		want[m.call] = 0
	}
	for call := range want {
		kinds := map[string]bool{}
		for _, m := range mutations {
			kinds[m.kind] = kinds[m.kind] || m.call == call
		}
		for _, is := range kinds {
			if is {
				want[call]++
			}
		}
	}
	delete(want, "OpenFolder") // it is makeFolder, below
	have := map[string]int{}
	for _, dir := range []string{".", "journal", "internal/*"} {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		must(t, err)
		for _, path := range paths {
			if !strings.HasSuffix(path, "_test.go") {
				syncsIn(t, path, have)
			}
		}
	}
	// These are the syncs themselves. makeFolder is the OpenFolder of the machine's
	// disk. That of the cache has a test of its own, TestWhatIsVoidStaysVoidOverAPowerCut.
	for _, f := range []string{"index.(*Index).Persist", "journal.syncDir", "journal.syncForReader", "journal.(*folder).Sync", "journal.file.Sync", "store.patientFile.Sync", "journal.makeFolder", "cache.(*Cache).void"} {
		delete(have, f)
	}
	if !maps.Equal(have, want) {
		t.Errorf("the sources sync in\n%v\nand mutations are of\n%v", have, want)
	}
}

// syncsIn counts the calls in one file that sync, by function.
func syncsIn(t *testing.T, path string, have map[string]int) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	must(t, err)
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name + "." + fn.Name.Name
		if fn.Recv != nil {
			switch r := fn.Recv.List[0].Type.(type) {
			case *ast.StarExpr:
				name = fmt.Sprintf("%s.(*%s).%s", f.Name.Name, r.X.(*ast.Ident).Name, fn.Name.Name)
			case *ast.Ident:
				name = fmt.Sprintf("%s.%s.%s", f.Name.Name, r.Name, fn.Name.Name)
			}
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "pebble" && n.Sel.Name == "Sync" {
					have[name]++
				}
			case *ast.CallExpr:
				sel, method := n.Fun.(*ast.SelectorExpr)
				id, function := n.Fun.(*ast.Ident)
				if method && (sel.Sel.Name == "Sync" && len(n.Args) == 0 || sel.Sel.Name == "Persist") || function && (id.Name == "syncDir" || id.Name == "syncForReader") {
					have[name]++
				}
			}
			return true
		})
	}
}

// restartsAtOnce is how many restarts of a scene run at the same time. They mostly wait.
const restartsAtOnce = 4

// firstWrong restarts after all cuts and returns what is wrong. If something is
// forgotten, it stops at the first cuts that are wrong: what is forgotten often shows as
// something that never comes, so a restart then waits not for long.
func firstWrong(all []cut, skip func(disktest.Op) error, restart func(c cut, wait time.Duration) []string) []string {
	wait := patience
	if skip != nil {
		wait = 5 * time.Second
	}
	wrong := make([][]string, len(all))
	var enough atomic.Bool // something forgotten shows
	var running sync.WaitGroup
	turns := make(chan struct{}, restartsAtOnce)
	for i, c := range all {
		turns <- struct{}{}
		if enough.Load() {
			break
		}
		running.Go(func() {
			defer func() { <-turns }()
			wrong[i] = restart(c, wait)
			enough.CompareAndSwap(false, skip != nil && len(wrong[i]) > 0)
		})
	}
	running.Wait()
	return slices.Concat(wrong...)
}

// firstUnkept is firstWrong for what check says.
func firstUnkept(t *testing.T, drop string, all []cut, skip func(disktest.Op) error) []string {
	t.Helper()
	return firstWrong(all, skip, func(c cut, wait time.Duration) []string { return c.check(t, drop, wait) })
}

// waves is the scene of TestCrashAtEveryOperation.
func waves(left func(*disktest.Disk) *disktest.Disk) scene {
	return func(t *testing.T, skip func(disktest.Op) error) []string {
		drop := t.TempDir()
		r := newRig(t, drop)
		return firstUnkept(t, drop, r.cuts(r.scene, left, skip), skip)
	}
}

// killed is a scene that kills the process before syncs: those of the file or folder
// of, or all if of is empty. The next process finds all that was written, but it is not
// durable. Then the power is cut while the next process runs.
func killed(of string) scene {
	return func(t *testing.T, skip func(disktest.Op) error) (wrong []string) {
		drop := t.TempDir()
		r := newRig(t, drop)
		var mu sync.Mutex
		var kills []cut
		seen := map[string]int{}
		r.each(func(op disktest.Op) error {
			mu.Lock()
			defer mu.Unlock()
			name := filepath.Base(op.Path)
			if op.Kind != "sync" && op.Kind != "syncdir" || of != "" && name != of {
				return nil
			}
			if seen[op.Call+sortOf(op)]++; seen[op.Call+sortOf(op)] <= 2 || of != "" {
				all := vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}
				kills = append(kills, cut{op: op, files: r.files.Kill(), store: r.store.CrashClone(all), recorded: r.told.all()})
			}
			return nil
		})
		r.scene()
		slices.Reverse(kills) // begin with the last kill: after it the next process has the least work, and may not sync everything anyway
		for i, k := range kills {
			all := k.next(t, drop, skip)
			if skip == nil { // check every fourth cut, and the last one
				last := len(all) - 1
				for n := i % 4; n < last; n += 4 {
					wrong = append(wrong, all[n].check(t, drop, patience)...)
				}
				all = all[last:]
			}
			for _, w := range firstUnkept(t, drop, all, skip) {
				wrong = append(wrong, fmt.Sprintf("killed before %s %s, %s", k.op.Kind, k.op.Path, w))
			}
			if len(wrong) > 0 && skip != nil {
				break
			}
		}
		return wrong
	}
}

// sortOf returns the sort of an operation. The program treats all operations of one
// sort alike.
func sortOf(op disktest.Op) string {
	return op.Kind + " " + undated(filepath.Base(op.Path))
}

// undated returns a name without its digits.
func undated(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, name)
}

// next runs a pipeline on the state after a kill: it takes in what is there, syncs the
// index and stops. It returns the states after a cut before each operation and at the
// end.
func (c cut) next(t *testing.T, drop string, skip func(disktest.Op) error) []cut {
	t.Helper()
	r := &rig{t: t, drop: drop, files: c.files, store: c.store, told: &told{at: maps.Clone(c.recorded)}}
	r.config = rigConfig(drop, store.Disk{Disk: c.files, Pebble: c.store}, config.Scanner{Type: "discard"}, r.told)
	return r.cuts(func() {
		r.run(func(p *Pipeline) {
			waitFor(t, "all outcomes", func() bool {
				s := p.Status()
				return len(s.Trees) > 0 && s.Trees[0].LastSweep != nil && len(s.Scanners) > 0 && s.Scanners[0].Waiting == 0
			})
			prod := p.halves().producer
			must(t, prod.Index().Sync(t.Context()))
		})
	}, nothing, skip)
}

// byOthers is a scene in which another program appends a line to the journal. take is
// how the producer then notices it.
func byOthers(take func(*journal.Series) error) scene {
	return func(t *testing.T, skip func(disktest.Op) error) []string {
		drop := t.TempDir()
		r := newRig(t, drop)
		all := r.cuts(func() {
			r.run(func(p *Pipeline) {
				r.allEnded(p, 0)
				r.put(p, 0, 2)
				live := p.halves().lanes.Lane(journal.Live)
				f, err := live.Folder().Open(journal.Base(journal.Live), os.O_WRONLY|os.O_APPEND)
				must(t, err)
				_, err = f.Write([]byte("/elsewhere/bare\n"))
				must(t, err)
				must(t, take(live))
				waitFor(t, "its outcome", func() bool { return r.told.size() == 3 })
				r.drops(2, 1)
				waitFor(t, "the next one's", func() bool { return r.told.size() == 4 })
			})
		}, nothing, skip)
		return firstUnkept(t, drop, all, skip)
	}
}

// followed is a scene that reads a line that another process appended and did not sync.
func followed(t *testing.T, skip func(disktest.Op) error) (wrong []string) {
	d := disktest.New()
	dir, err := d.OpenFolder("/journal")
	must(t, err)
	f, err := dir.Open("monitor.log", os.O_CREATE|os.O_WRONLY)
	must(t, err)
	must(t, dir.Sync())
	_, err = f.Write([]byte("/a\n"))
	must(t, err)
	d.Before = skip
	log := slog.New(slog.DiscardHandler)
	r, err := journal.NewReader(dir, "monitor.log", journal.Pos{}, journal.NewFollower(dir, "monitor.log"), log)
	must(t, err)
	defer r.Close()
	if line, ok, err := r.Next(t.Context()); string(line.Text) != "/a" || !ok || err != nil {
		t.Fatalf("%q %v %v", line.Text, ok, err)
	}
	after, err := d.Cut(0).OpenFolder("/journal")
	must(t, err)
	if text, err := journal.LoadText(after, "monitor.log"); text != "/a\n" {
		return []string{fmt.Sprintf("a line was handed out, and after a cut the journal holds %q %v", text, err)}
	}
	return nil
}

// renumbered is a scene that reads a segment of another program. A segment before it is
// deleted. A cursor in it has the number that it got before that.
func renumbered(t *testing.T, skip func(disktest.Op) error) (wrong []string) {
	d := disktest.New()
	dir, err := d.OpenFolder("/journal")
	must(t, err)
	write := func(name, text string) string {
		f, err := dir.Open(name, os.O_CREATE|os.O_WRONLY)
		must(t, err)
		_, err = f.Write([]byte(text))
		must(t, errors.Join(err, f.Sync(), f.Close(), dir.Sync()))
		return name
	}
	log := slog.New(slog.DiscardHandler)
	reads := func(dir journal.Folder, from journal.Pos, want ...string) (at journal.Pos) {
		r, err := journal.NewReader(dir, "monitor.log", from, journal.NewFollower(dir, "monitor.log"), log)
		must(t, err)
		defer r.Close()
		for _, text := range want {
			line, ok, err := r.Next(t.Context())
			if string(line.Text) != text || !ok || err != nil {
				wrong = append(wrong, fmt.Sprintf("read from %v: %q %v %v, want %q", from, line.Text, ok, err, text))
			}
			at = line.After
		}
		return at
	}
	d.Before = skip
	first := write("monitor.log.20261122-1200.log", "/a\n")
	write("monitor.log.20261123-1200.log", "/b\n/c\n")
	write("monitor.log", "/d\n")
	at := reads(dir, journal.Pos{}, "/a", "/b")
	must(t, dir.Remove(first))
	after, err := d.Cut(0).OpenFolder("/journal")
	must(t, err)
	_ = after.Remove(first) // the removal may or may not be durable
	reads(after, at, "/c")
	return wrong
}

// resumed is a scene that pauses and resumes a scanner. When Pause or Resume returns,
// it is durable.
func resumed(t *testing.T, skip func(disktest.Op) error) (wrong []string) {
	drop := t.TempDir()
	r := newRig(t, drop)
	holds := func(paused bool) {
		dir, err := r.files.Cut(0).OpenFolder(rigState + "/cursors")
		must(t, err)
		if _, err := dir.Lstat("clamav.paused"); errors.Is(err, fs.ErrNotExist) == paused {
			wrong = append(wrong, fmt.Sprintf("it was said that paused is %v, and after a cut it is not so: %v", paused, err))
		}
	}
	r.files.Before = skip
	r.run(func(p *Pipeline) {
		r.allEnded(p, 0)
		must(t, p.Pause("clamav"))
		holds(true)
		must(t, p.Resume("clamav"))
		holds(false)
	})
	return wrong
}

// held is a scene in which a line ends because another program holds its file. The file
// is journaled again when that program lets go.
func held(t *testing.T, skip func(disktest.Op) error) []string {
	drop := t.TempDir()
	r := newRig(t, drop)
	r.config.Trees[0].SettleLimit = 300 * time.Millisecond
	r.drops(0, 1)
	names := hashes(t, drop)
	r.config.Half = config.ProducerOnly
	r.run(func(p *Pipeline) {
		waitFor(t, "its line", func() bool { return taken(p, names) })
	})
	r.config.Half = config.Both
	all := r.cuts(func() {
		letGo := hold(t, filepath.Join(drop, "0"))
		r.run(func(p *Pipeline) {
			waitFor(t, "its line to end", func() bool { return r.told.size() == 1 })
			letGo()
			waitFor(t, "its outcome", func() bool { return haveEnded(names, r.told.all()) })
		})
	}, nothing, skip)
	for i := range all {
		all[i].again = true // the index forgets the file before its line ends
	}
	return firstUnkept(t, drop, all, skip)
}

// away is a scene in which a tree is moved away while its file is to be pushed, and is
// moved back later: the file is in it in the same version.
func away(t *testing.T, skip func(disktest.Op) error) []string {
	above := t.TempDir()
	drop, elsewhere := filepath.Join(above, "drop"), filepath.Join(above, "elsewhere")
	must(t, os.Mkdir(drop, 0o755))
	r := newRig(t, drop)
	r.drops(0, 1)
	names := hashes(t, drop)
	r.config.Half = config.ProducerOnly
	r.run(func(p *Pipeline) {
		waitFor(t, "its line", func() bool { return taken(p, names) })
		must(t, p.halves().producer.Index().Sync(t.Context()))
	})
	r.config.Half = config.Both
	must(t, os.Rename(drop, elsewhere))
	all := r.cuts(func() {
		r.run(func(p *Pipeline) {
			waitFor(t, "the cursor behind its line", func() bool {
				at, err := journal.LoadCursor(r.cursors(), "clamav", journal.Backlog)
				return err == nil && at.Pos == p.halves().lanes.Lane(journal.Backlog).Durable() && r.told.size() == 1
			})
		})
	}, nothing, skip)
	must(t, os.Rename(elsewhere, drop))
	for i := range all {
		all[i].again = true // it is journaled again when it is back
	}
	return firstUnkept(t, drop, all, skip)
}

// known is a scene that prunes the journal up to the index's mark.
func known(t *testing.T, skip func(disktest.Op) error) []string {
	drop := t.TempDir()
	r := newRig(t, drop)
	all := r.cuts(func() {
		r.run(func(p *Pipeline) {
			r.allEnded(p, 0)
			prod, lanes := p.halves().producer, p.halves().lanes
			for wave := range 2 {
				r.put(p, 3*wave, 3)
				waitFor(t, "a cut", func() bool { return lanes.Lane(journal.Live).Cut(time.Now()) == nil })
			}
			r.put(p, 6, 1)
			waitFor(t, "the cursor in the last segment", func() bool {
				return cursorIn(r.cursors(), 3)
			})
			must(t, prod.Index().Sync(t.Context()))
			prod.Prune(0)
			must(t, lanes.Lane(journal.Live).Folder().Sync()) // as the next cut does: now they are gone for ever
			r.put(p, 7, 1)
		})
	}, nothing, skip)
	return firstUnkept(t, drop, all, skip)
}

// cursorIn reports whether the saved cursor of the live lane is in segment n or a later
// one.
func cursorIn(dir journal.Folder, n uint64) bool {
	at, err := journal.LoadCursor(dir, "clamav", journal.Live)
	return err == nil && at.Segment >= n
}
