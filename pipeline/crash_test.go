// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// rig is a pipeline on a disk that can lose power, and a real tree.
type rig struct {
	t       testing.TB
	drop    string
	files   *disktest.Disk
	store   *vfs.MemFS
	scanner *scantest.Server
	told    *told
	faults  bool // the test lets operations fail
	config  Config
	logged  func() string // what the pipelines of the scene logged
}

// told notes the outcomes that a pipeline told: at has the path by the place of the
// line, and twice the places that were told twice. mu guards both.
type told struct {
	mu    sync.Mutex
	at    map[string]string
	twice []string
}

func newTold() *told { return &told{at: map[string]string{}} }

func (d *told) take(o sample.Outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at[o.At.String()] != "" {
		d.twice = append(d.twice, o.At.String())
	}
	d.at[o.At.String()] = ended(o.Path, o.Outcome, o.Reason)
}

func (d *told) all() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.at)
}

func (d *told) size() int { return len(d.all()) }

const rigState = "/state"

func newRig(t testing.TB, drop string) *rig {
	r := &rig{t: t, drop: drop, files: disktest.New(), store: vfs.NewCrashableMem(), scanner: scantest.Start(t, scantest.Networks()[0]), told: newTold()}
	r.config = rigConfig(drop, store.Disk{Disk: r.files, Pebble: r.store}, config.Scanner{Addresses: []string{r.scanner.Addr()}}, r.told)
	l := &lab{}
	r.config.Log = slog.New(slog.NewTextHandler(&guarded{l}, nil))
	r.logged = l.logged
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(l.logged())
		}
	})
	return r
}

// rigWorkers is how many samples are in flight in a scene, at most.
const rigWorkers = 2

func rigConfig(drop string, d store.Disk, s config.Scanner, to *told) Config {
	s.Name, s.Sight, s.Workers, s.BackoffFirst, s.BackoffMax = "clamav", -1, rigWorkers, time.Millisecond, 10*time.Millisecond
	return Config{
		State: rigState, Trees: []config.Tree{{Path: drop, Name: "drop"}}, Log: slog.New(slog.DiscardHandler),
		Journal: config.Journal{CutSize: 600, CutEvery: 24 * time.Hour, Keep: 1}, Scanners: []config.Scanner{s}, Ledger: config.Ledger{Keep: 1}, Outcome: to.take, disk: d,
	}
}

// received returns the samples that the scanner received, if there is a scanner.
func (r *rig) received() []scantest.Received {
	if r.scanner == nil {
		return nil
	}
	return r.scanner.Received()
}

// each makes both views of the disk call before ahead of every operation.
func (r *rig) each(before func(disktest.Op) error) {
	r.files.Before = before
	r.config.disk.Pebble = &asked{r.store, before}
}

// run runs the pipeline until during returns.
func (r *rig) run(during func(*Pipeline)) {
	r.t.Helper()
	p, err := New(r.config)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	during(p)
	cancel()
	// With faults a stop may return an error. The next start repairs what the fault
	// left.
	if err := <-ended; err != nil && !r.faults {
		r.t.Error(err)
	}
}

// cursors returns the folder of the cursors.
func (r *rig) cursors() journal.Folder {
	r.t.Helper()
	dir, err := r.files.FindFolder(rigState + "/cursors")
	if err != nil {
		r.t.Fatal(err)
	}
	return dir
}

// drops drops n files, and waits until they are old enough: those that are noted within a
// grain of their ctime are hashed after it, and journaled again if they have no outcome.
// That would hide what a cut has lost.
func (r *rig) drops(from, n int) {
	r.t.Helper()
	for i := from; i < from+n; i++ {
		if err := os.WriteFile(filepath.Join(r.drop, fmt.Sprint(i)), fmt.Appendf(nil, "sample %d", i), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	dropped := time.Now()
	waitFor(r.t, "the files to be old enough", func() bool { return time.Since(dropped) > 50*time.Millisecond })
}

// put drops n files and waits for their outcomes.
func (r *rig) put(p *Pipeline, from, n int) {
	r.t.Helper()
	r.drops(from, n)
	r.allEnded(p, from+n)
}

// allEnded waits until the sweep at start has ended and n files have outcomes.
func (r *rig) allEnded(p *Pipeline, n int) {
	r.t.Helper()
	waitFor(r.t, fmt.Sprintf("%d files with an outcome", n), func() bool {
		s := p.Status()
		if len(s.Trees) == 0 || s.Trees[0].LastSweep == nil || len(s.Scanners) == 0 || s.Scanners[0].Waiting > 0 {
			return false
		}
		return r.told.size() >= n
	})
}

// ledgerOf returns the paths of the outcomes on a disk by the place of their line.
func ledgerOf(t testing.TB, d *disktest.Disk) map[string]string {
	t.Helper()
	found := map[string]string{}
	outcomesOn(t, d, func(o onDisk) { found[o.At] = ended(o.Path, o.Outcome, o.Reason) })
	return found
}

// onDisk is what a test reads of an outcome in the ledger.
type onDisk struct{ Path, At, Outcome, Reason string }

// outcomesOn calls each for the outcomes in the ledger on a disk.
func outcomesOn(t testing.TB, d *disktest.Disk, each func(onDisk)) {
	t.Helper()
	dir, err := d.OpenFolder(rigState + "/ledger")
	if err != nil {
		t.Fatal(err)
	}
	names, err := journal.Segments(dir, ledger.Base)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := journal.LoadText(dir, name)
		if err != nil {
			continue // there is no active segment, or it was just cut
		}
		for line := range strings.Lines(text) {
			var o onDisk
			if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &o) == nil { // otherwise it is the torn last line
				each(o)
			}
		}
	}
}

// twiceInLedger returns the places of lines that have two outcomes in the ledger.
func twiceInLedger(t testing.TB, d *disktest.Disk) (twice []string) {
	t.Helper()
	seen := map[string]bool{}
	outcomesOn(t, d, func(o onDisk) {
		if seen[o.At] {
			twice = append(twice, o.At)
		}
		seen[o.At] = true
	})
	return twice
}

// scene drops files in three waves, cuts journal and ledger, sweeps, and prunes both.
func (r *rig) scene() {
	r.t.Helper()
	r.run(func(p *Pipeline) {
		for wave := range 3 {
			r.put(p, 3*wave, 3)
			now := p.halves()
			waitFor(r.t, "cursors and mark", func() bool {
				c := now.consumers[0]
				stand, mark := c.Stand()
				at, _ := journal.LoadCursor(r.cursors(), "clamav", journal.Live) // missing while it is zero
				return at.Pos == stand[journal.Live] && c.SavedMark() == mark
			})
			// This cuts as the pipeline's own goroutines do. They may be cutting now:
			// then we try again.
			for _, cut := range []func(time.Time) error{now.lanes.Lane(journal.Live).Cut, now.ledger.Cut} {
				waitFor(r.t, "a cut", func() bool { return cut(time.Now()) == nil })
			}
		}
		now := p.halves()
		if err := now.producer.Index().Sync(r.t.Context()); err != nil {
			r.t.Error(err)
		}
		// Prune the ledger before the journal: lines whose outcomes are gone must not
		// be read again. All segments before the mark go.
		waitFor(r.t, "the ledger tended", func() bool {
			return now.ledger.Tend(time.Now(), 0, []ledger.Mark{now.consumers[0].SavedMark()}) == nil
		})
	})
	r.drops(9, 2) // while nothing runs: the sweep at start must find them
	r.run(func(p *Pipeline) {
		r.put(p, 11, 1)
		prod := p.halves().producer
		if err := prod.Index().Sync(r.t.Context()); err != nil {
			r.t.Error(err)
		}
		prod.Prune(1)
	})
}

const sceneFiles = 12

// cut is the state after a power cut, and what the scanner had received until then.
type cut struct {
	op       disktest.Op
	files    *disktest.Disk
	store    *vfs.MemFS
	received []scantest.Received
	recorded map[string]string // outcomes that were told: path by the place of the line
	written  map[string]string // outcomes that were written by then, durable or not: the same
	again    bool              // a file may be journaled again although its line has no outcome yet
	anew     bool              // the index was built anew in the scene
}

// nothing cuts the power so that nothing is left of what was not synced.
func nothing(d *disktest.Disk) *disktest.Disk { return d.Cut(0) }

// cuts runs a scene. It cuts the power before each operation and at the end, and
// returns the states that are left. fault may let operations fail; it may be nil.
func (r *rig) cuts(scene func(), left func(*disktest.Disk) *disktest.Disk, fault func(disktest.Op) error) []cut {
	r.t.Helper()
	var mu sync.Mutex
	var all []cut
	written := map[string]string{}
	before := func(op disktest.Op) error {
		mu.Lock()
		defer mu.Unlock()
		// Copy the index first. It may lag behind the files, as it may on a real disk.
		store := r.store.CrashClone(vfs.CrashCloneCfg{})
		c := cut{op: op, files: left(r.files), store: store, received: r.received(), recorded: r.told.all()}
		maps.Copy(written, ledgerOf(r.t, r.files.Kill()))
		c.written = maps.Clone(written)
		all = append(all, c)
		if fault != nil {
			return fault(op)
		}
		return nil
	}
	r.each(before)
	scene()
	r.files.Before = nil
	fault = nil
	_ = before(disktest.Op{Kind: "end"})
	return all
}

// check starts a pipeline on the state after a cut and returns what is wrong with it. It
// waits until each file has its outcome, but no longer than wait.
func (c cut) check(t testing.TB, drop string, wait time.Duration) (wrong []string) {
	t.Helper()
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("cut before %s %s: ", c.op.Kind, c.op.Path)+fmt.Sprintf(format, args...))
	}
	found := ledgerOf(t, c.files)
	unhashed := c.unhashed(found)
	recorded := maps.Clone(found)
	maps.Copy(recorded, c.recorded)
	before := c.lines(t)
	for at, path := range recorded {
		if !c.backed(t, before, at, path) {
			say("%s has an outcome, and its line at %s is not in the journal", path, at)
		}
	}
	names := hashes(t, drop)
	// Those whose outcome was written and not synced are repeated too, but not after a kill.
	known := slices.AppendSeq(slices.Collect(maps.Values(recorded)), maps.Values(c.written))
	repeated := map[string]bool{}
	for _, s := range c.received {
		if path := names[hex.EncodeToString(s.SHA256[:])]; !slices.Contains(known, path) {
			repeated[path] = true
		}
	}
	if len(repeated) > rigWorkers {
		say("%d pushes are repeated, workers are %d", len(repeated), rigWorkers)
	}
	now := newTold()
	p, err := New(rigConfig(drop, store.Disk{Disk: c.files, Pebble: c.store}, config.Scanner{Type: "discard"}, now))
	if err != nil {
		t.Fatal(err)
	}
	stop := runIt(t, p)
	late := time.After(wait)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-tick.C:
			s := p.Status()
			done = len(s.Trees) > 0 && s.Trees[0].LastSweep != nil && len(s.Scanners) > 0 && s.Scanners[0].Waiting == 0 && haveEnded(names, recorded, now.all()) && taken(p, names)
		case <-late:
			done = true
		}
	}
	stop()
	count := map[string]int{}
	for at, path := range now.all() {
		if recorded[at] != "" && found[at] == "" {
			say("%s at %s has two outcomes", path, at)
		}
		recorded[at] = path
	}
	for at, path := range found {
		if c.recorded[at] == "" && now.all()[at] == "" {
			say("%s at %s has its outcome, and nobody was told of it", path, at)
		}
	}
	for _, at := range twiceInLedger(t, c.files) {
		say("%s at %s has two outcomes", recorded[at], at)
	}
	for _, path := range recorded {
		count[path]++
	}
	lines := c.lines(t)
	maps.Copy(lines, recorded)
	lost := 0
	for _, path := range names {
		if count[path] == 0 {
			lost++
			say("%s is lost", path)
		}
		n := 0
		for _, have := range lines {
			if have == path {
				n++
			}
		}
		if n > 1 && !c.again && !(n == 2 && unhashed[path]) {
			say("%s was journaled %d times", path, n)
		}
	}
	// The product's own proof is asked on what is left, at rest: it must say the same.
	if v, err := p.Verify(t.Context(), false); err != nil || v.Files != int64(len(names)) || v.Proven() != (lost == 0) {
		say("%d of %d files are lost by our count, and the proof is %+v %v", lost, len(names), v, err)
	}
	return wrong
}

// unhashed returns the paths that may be journaled once more because nothing is left that
// tells the hash of their bytes: the index was built anew, and the ledger that has their
// outcomes was pruned, as the scene does seconds after the push. Such a file may have been
// written again within one grain of its clock, so its version proves nothing. A second
// push costs little, and a missing one would be a loss. A file whose outcome is in the
// ledger must not be journaled again, whatever became of the index.
func (c cut) unhashed(inLedger map[string]string) map[string]bool {
	paths := map[string]bool{}
	for at, path := range c.recorded {
		if c.anew && inLedger[at] == "" {
			paths[path] = true
		}
	}
	return paths
}

// unjudged marks the path of a line that ended without a look at its file, because
// another program held the file or it was away. The file has its outcome by another
// line.
const unjudged = "not judged: "

// ended returns a line's path as it is noted once it has an outcome.
func ended(path, outcome, reason string) string {
	if outcome == sample.Gone || reason == sample.ReasonBusy {
		return unjudged + path
	}
	return path
}

// haveEnded reports whether each path of names has an outcome. Other paths, such as
// bare lines of other folders, may have outcomes too.
func haveEnded(names map[string]string, outcomes ...map[string]string) bool {
	have := map[string]bool{}
	for _, all := range outcomes {
		for _, path := range all {
			have[path] = true
		}
	}
	for _, path := range names {
		if !have[path] {
			return false
		}
	}
	return true
}

// lines returns the paths of the journal lines on a disk by their place.
func (c cut) lines(t testing.TB) map[string]string {
	t.Helper()
	found := map[string]string{}
	dir, err := c.files.OpenFolder(rigState + "/journal")
	if err != nil {
		t.Fatal(err)
	}
	for _, lane := range sample.Lanes {
		all, err := journal.Survey(dir, journal.Base(lane))
		if err != nil {
			t.Fatal(err)
		}
		for _, segment := range all {
			err := journal.Find(t.Context(), dir, segment, nil, func(offset int64, text []byte) error {
				if s, err := sample.ParseLine(text); err == nil {
					found[sample.At{Lane: lane, Pos: journal.Pos{Segment: segment.Number, Offset: offset}}.String()] = s.Path
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return found
}

// taken reports whether the index knows each file.
func taken(p *Pipeline, names map[string]string) bool {
	prod := p.halves().producer
	for _, path := range names {
		if prod == nil {
			return false
		}
		if _, ok, err := prod.Index().Get(path); !ok || err != nil {
			return false
		}
	}
	return true
}

// backed reports whether the line of an outcome is on the disk, or is behind the cursor
// and pruned. Otherwise a consumer got a line that was not durable.
func (c cut) backed(t testing.TB, lines map[string]string, place, path string) bool {
	t.Helper()
	at, _ := sample.ParseAt(place)
	dir, err := c.files.OpenFolder(rigState + "/cursors")
	if err != nil {
		t.Fatal(err)
	}
	cursor, _ := journal.LoadCursor(dir, "clamav", at.Lane) // missing while it is zero
	line, ok := lines[place]
	return ok && line == strings.TrimPrefix(path, unjudged) || !ok && at.Segment < cursor.Segment
}

// hashes returns the paths of a tree's files by their SHA-256.
func hashes(t testing.TB, drop string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(drop)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		path := filepath.Join(drop, e.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		all[hex.EncodeToString(sum[:])] = path
	}
	return all
}

// inMemory skips a test when the tests run for a second time, on another system: it
// takes a minute, and its disk is the same everywhere.
func inMemory(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("its disk is in memory and the same on every system")
	}
}

// TestCrashAtEveryOperation cuts the power before each operation on the state's files,
// and so also after each. It does so three times: with nothing left of what was not
// synced, with half of the bytes that were appended, and with only the last change of
// the names in each folder. A fourth time it kills the process there.
func TestCrashAtEveryOperation(t *testing.T) {
	inMemory(t)
	for name, left := range map[string]func(*disktest.Disk) *disktest.Disk{
		"left=0%": nothing, "left=50%": func(d *disktest.Disk) *disktest.Disk { return d.Cut(50) }, "out of order": (*disktest.Disk).CutOutOfOrder,
		"killed": (*disktest.Disk).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drop := t.TempDir()
			r := newRig(t, drop)
			all := r.cuts(r.scene, left, nil)
			if len(hashes(t, drop)) != sceneFiles || len(all) < 100 {
				t.Fatalf("%d files, %d operations", len(hashes(t, drop)), len(all))
			}
			t.Logf("%d operations", len(all))
			for _, w := range firstUnkept(t, drop, all, nil) {
				t.Error(w)
			}
		})
	}
}
