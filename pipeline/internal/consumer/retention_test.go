// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/producer"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/watch"
)

// model runs a journal, its ledger and two consumers on a disk that can lose what is not
// synced. It does one step at a time, without goroutines and without a clock. It checks
// that a line that was appended stays readable for each scanner until that scanner's
// outcome is recorded, in any order of cuts, reads, crashes and prunes.
type model struct {
	t     *testing.T
	names []string // the names of the scanners
	log   *slog.Logger
	met   *Metrics
	d     *disktest.Disk
	draw  *rand.Rand
	trace []string
	now   time.Time
	keep  int                       // how many segments of the ledger are kept
	lazy  bool                      // outcomes are synced by a step of their own
	wrong func(floor uint64) uint64 // a mutation: returns a wrong floor for pruning; nil: none

	lanes     *journal.Lanes
	cursors   journal.Folder
	pruner    producer.Pruner
	consumers []*Consumer
	led       *ledger.Ledger
	closers   []func() error

	next     int
	appended map[string]sample.At       // by path, the places of the lines whose Append succeeded
	recorded map[string]map[string]bool // by scanner: paths with an outcome
	maybe    map[string]bool            // scanner and path: the outcome was being recorded when the power was cut
	outlast  map[string]bool            // scanner and path: the outcome was written, and then the process was killed
	killed   bool                       // leave killed the process, and did not cut the power
	again    bool                       // a start tells again what may be untold
	retold   []string                   // what the last start told again: paths
	marks    map[string]journal.Pos     // the marks of the index on disk

	say   func(format string, args ...any)
	found bool // the mutation was detected
	gone  int  // how many segments were pruned
}

var modelScanners = []string{"one", "two"}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, names: modelScanners, log: slog.New(slog.DiscardHandler), met: NewMetrics(), d: disktest.New(), draw: rand.New(rand.NewPCG(seed, 1)), keep: int(seed % 2), lazy: seed/2%2 == 1, now: time.Unix(1800000000, 0),
		appended: map[string]sample.At{}, recorded: map[string]map[string]bool{}, maybe: map[string]bool{}, outlast: map[string]bool{}, marks: map[string]journal.Pos{}}
	m.say = t.Errorf
	for _, name := range modelScanners {
		m.recorded[name] = map[string]bool{}
	}
	m.open()
	return m
}

// open starts journal, ledger and consumers on the files that the disk has.
func (m *model) open() {
	m.t.Helper()
	dirs, err := store.OpenFolders(store.Disk{Disk: m.d}, "/state", "/state/journal")
	m.must(err)
	m.lanes, err = journal.OpenLanes(journal.Config{Disk: m.d, Dir: "/state/journal", First: 1, CutSize: 900}, time.Minute, m.log)
	m.must(err)
	m.led, err = ledger.Open(m.d, "/state/ledger", ledger.Bounds{Keep: m.keep, Max: -1, MinFree: -1}, m.log)
	m.must(err)
	m.closers = []func() error{m.lanes.Close, m.led.Close}
	m.cursors, m.consumers, m.retold = dirs.Cursors, nil, nil
	every := time.Duration(0)
	if m.lazy {
		every = time.Millisecond
	}
	var scanners []config.Scanner
	for _, name := range m.names {
		scanners = append(scanners, config.Scanner{Name: name, Type: "discard"})
	}
	scanners, err = config.FillScanners(scanners)
	m.must(err)
	for _, s := range scanners {
		k, err := New(m.t.Context(), Config{
			Scanner: s, Dirs: dirs, Ledger: m.led, Sync: every, Source: Apart{}, Metrics: m.met, Log: m.log, Outcome: m.told(s.Name),
			Tail: func(lane string) journal.Tail { return m.lanes.Lane(lane) },
		})
		m.must(err)
		m.again = true
		m.must(tellAgain(m.t.Context(), k.lines))
		m.again = false
		m.consumers = append(m.consumers, k)
		m.closers = append(m.closers, k.Close)
	}
	m.pruner = producer.Pruner{Max: -1, Lanes: m.lanes, Cursors: m.cursors, Scanners: scanners, Marks: func() map[string]journal.Pos { return m.marks }, Log: m.log}
}

// told returns a function that notes the outcomes of a scanner. A second one for the same
// path is an error, unless it is told again.
func (m *model) told(scanner string) func(sample.Outcome) {
	return func(o sample.Outcome) {
		if m.again {
			m.recorded[scanner][o.Path] = true
			m.retold = append(m.retold, o.Path)
			return
		}
		if m.recorded[scanner][o.Path] {
			m.say("%s has two outcomes from %s\nafter %s", o.Path, scanner, strings.Join(m.trace, ", "))
		}
		if m.outlast[scanner+o.Path] {
			m.say("%s was pushed again to %s, although its outcome was written before the kill\nafter %s", o.Path, scanner, strings.Join(m.trace, ", "))
		}
		m.recorded[scanner][o.Path] = true
	}
}

// savedMarks returns the marks on disk from which on the scanners need the ledger.
func (m *model) savedMarks() (all []ledger.Mark) {
	for _, c := range m.consumers {
		all = append(all, c.Marks()...)
	}
	return all
}

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("%v\nafter %s", err, strings.Join(m.trace, ", "))
	}
}

// leave returns the disk that a power cut or a kill leaves.
func (m *model) leave() *disktest.Disk {
	share := m.draw.IntN(4) * 50
	if m.killed = share > 100; !m.killed {
		return m.d.Cut(share)
	}
	return m.d.Kill()
}

// crash starts again on the disk left. An outcome that was written and not synced may be on
// it or not; if the process was killed between two steps, it must be.
func (m *model) crash(left *disktest.Disk, between bool) {
	m.t.Helper()
	for _, c := range m.consumers {
		for _, w := range c.lines.unsynced.take() {
			cutOff := m.led.Sync(w.w) != nil // by a fault before the crash
			for _, e := range w.all {
				m.maybe[c.Name()+e.out.Path] = true
				m.outlast[c.Name()+e.out.Path] = between && m.killed && !cutOff
			}
		}
	}
	for _, shut := range m.closers {
		_ = shut() // the process is gone: its errors do not matter
	}
	m.d = left
	m.open()
	for _, c := range m.consumers {
		for path := range m.appended {
			if m.outlast[c.Name()+path] && !m.recorded[c.Name()][path] {
				m.say("%s has its outcome from %s, and nobody was told of it\nafter %s", path, c.Name(), strings.Join(m.trace, ", "))
			}
		}
	}
}

// steps holds the steps and their names.
var steps = []struct {
	name string
	do   func(m *model, lane string, c *Consumer)
}{
	{"append", func(m *model, lane string, _ *Consumer) { m.append(lane) }},
	{"cut", func(m *model, lane string, _ *Consumer) {
		m.now = m.now.Add(time.Duration(m.draw.IntN(3)-1) * time.Minute) // sometimes the clock is set back
		_ = m.lanes.Lane(lane).Cut(m.now)                                // it may fail
	}},
	{"read", func(m *model, lane string, c *Consumer) { m.read(c, lane) }},
	{"record", func(m *model, _ string, c *Consumer) { m.record(c) }},
	{"sync", func(m *model, _ string, c *Consumer) { m.sync(c) }},
	{"save", func(_ *model, _ string, c *Consumer) { _ = c.lines.saveCursors() }}, // it may fail
	{"note", func(m *model, lane string, _ *Consumer) { m.marks[lane] = m.lanes.Lane(lane).Durable() }},
	{"prune", func(m *model, _ string, _ *Consumer) { m.prune(m.draw.IntN(2)) }},
	{"cut ledger", func(m *model, _ string, _ *Consumer) { _ = m.led.Cut(m.now) }}, // it may fail
	{"tend", func(m *model, _ string, _ *Consumer) {
		_ = m.led.Tend(time.Now(), m.keep, m.savedMarks()) // it may fail
	}},
	{"calm", func(m *model, _ string, _ *Consumer) {
		for _, k := range m.consumers {
			m.push(k)
			_ = k.lines.saveCursors() // it may fail
		}
		if m.draw.IntN(2) == 0 { // the index may lag behind all cursors
			return
		}
		for _, lane := range sample.Lanes {
			m.marks[lane] = m.lanes.Lane(lane).Durable()
		}
	}},
}

// singly is how many of the steps do one thing only: all but the last.
var singly = len(steps) - 1

func (m *model) append(lane string) {
	m.next++
	path := fmt.Sprintf("/t/%d", m.next)
	s := anEvent(path, int64(m.next), watch.Time{Sec: 1})
	if at, _, err := m.lanes.Lane(lane).Append(sample.AppendLine(nil, s)); err == nil {
		m.appended[path] = sample.At{Lane: lane, Pos: at}
	}
}

// read hands out one line. It returns false if there is none, or it cannot be read.
func (m *model) read(c *Consumer, lane string) bool {
	l := c.lines.lane(lane)
	line, ok, err := l.r.Next(m.t.Context())
	if from, to, gap := l.r.Missed(); gap {
		m.say("%s: lines from %s to %s of lane %s are missing\nafter %s", c.Name(), from, to, lane, strings.Join(m.trace, ", "))
	}
	if err != nil || !ok {
		return false
	}
	return c.lines.handOut(m.t.Context(), l, line)
}

// record finishes one of the open lines, not always the oldest. It returns false if there
// is none, or the outcome cannot be recorded.
func (m *model) record(c *Consumer) bool {
	written := map[*push]bool{}
	for _, w := range c.lines.unsynced.waiting {
		for _, e := range w.all {
			written[e.push] = true
		}
	}
	var hand []*push
	for _, l := range c.lines.both() {
		for e := l.open.Front(); e != nil; e = e.Next() {
			if p := e.Value.(*push); !written[p] {
				hand = append(hand, p)
			}
		}
	}
	if len(hand) == 0 {
		return false
	}
	return m.finish(c, hand[m.draw.IntN(len(hand))])
}

func (m *model) finish(c *Consumer, p *push) bool {
	done := func() int { return len(m.recorded[c.Name()]) + len(c.lines.unsynced.waiting) }
	before := done()
	out := p.outcome(c.Name())
	out.Outcome = sample.Gone
	once, end := context.WithCancel(m.t.Context())
	end() // so that it is attempted once
	c.lines.end(once, []ended{{push: p, out: out}})
	return done() > before
}

// sync makes durable what is written.
func (m *model) sync(c *Consumer) {
	once, end := context.WithCancel(m.t.Context())
	end()
	c.lines.sync(once, c.lines.unsynced.take())
}

// push reads and finishes all lines.
func (m *model) push(c *Consumer) {
	for _, lane := range sample.Lanes {
		for m.read(c, lane) {
		}
	}
	for m.record(c) {
	}
	m.sync(c)
}

func (m *model) prune(keep int) {
	count := func() (n int) {
		for _, lane := range sample.Lanes {
			names, err := journal.Segments(m.lanes.Lane(lane).Folder(), journal.Base(lane))
			m.must(err)
			n += len(names)
		}
		return n
	}
	was := count()
	defer func() { m.gone += was - count() }()
	if m.wrong == nil {
		m.pruner.Prune(keep)
		return
	}
	for _, lane := range sample.Lanes {
		if floor, err := m.floor(lane); err == nil {
			_, _ = m.lanes.Lane(lane).Prune(keep, -1, journal.Before(m.wrong(floor)))
		}
	}
}

// floor returns the oldest segment of a lane that a scanner still needs.
func (m *model) floor(lane string) (uint64, error) {
	floor := ^uint64(0)
	for _, name := range m.names {
		at, err := journal.LoadCursor(m.cursors, name, lane)
		if err != nil {
			return 0, err
		}
		floor = min(floor, at.Segment)
	}
	return floor, nil
}

// step does one step. Mishap "crash in" cuts the power in the middle of it, "fault in"
// lets one operation of the disk fail.
func (m *model) step(i int, lane string, c *Consumer, mishap string) {
	m.trace = append(m.trace, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", mishap, steps[i].name, lane, c.Name())))
	var left *disktest.Disk
	nth, n := 1+m.draw.IntN(4), 0
	d := m.d
	d.Before = func(disktest.Op) error {
		if n++; n != nth {
			return nil
		}
		switch mishap {
		case "crash in":
			left = m.leave()
		case "fault in":
			return syscall.EIO
		}
		return nil
	}
	before, marks, told := maps.Clone(m.appended), maps.Clone(m.marks), map[string]map[string]bool{}
	for name, paths := range m.recorded {
		told[name] = maps.Clone(paths)
	}
	steps[i].do(m, lane, c)
	d.Before = nil
	if left == nil {
		return
	}
	// The power was cut in this step: forget its effects. The outcomes that it recorded
	// may be on the disk or not.
	for name, paths := range m.recorded {
		for path := range paths {
			if !told[name][path] {
				m.maybe[name+path] = true
			}
		}
	}
	m.appended, m.marks, m.recorded = before, marks, told
	m.crash(left, false)
}

// unnoted checks that each line that the index on disk may lack can still be read.
func (m *model) unnoted() {
	m.t.Helper()
	there := map[string]bool{}
	for _, lane := range sample.Lanes {
		r, err := m.lanes.NewReader(lane, m.marks[lane], m.log)
		m.must(err)
		for {
			line, ok, err := r.Next(m.t.Context())
			m.must(err)
			if !ok {
				break
			}
			s, err := sample.ParseLine(line.Text)
			m.must(err)
			there[s.Path] = true
		}
		m.must(r.Close())
	}
	for path, at := range m.appended {
		if !at.Before(m.marks[at.Lane]) && !there[path] {
			m.say("%s is lost to the index\nafter %s", path, strings.Join(m.trace, ", "))
		}
	}
}

// drain pushes until each scanner has an outcome for each line, and checks that no line
// is missing.
func (m *model) drain() {
	m.t.Helper()
	m.unnoted()
	for _, c := range m.consumers {
		m.push(c)
		for path := range m.appended {
			if !m.recorded[c.Name()][path] && !m.maybe[c.Name()+path] {
				m.say("%s is lost to %s\nafter %s", path, c.Name(), strings.Join(m.trace, ", "))
			}
		}
	}
}

// TestRetention does random steps, with another seed for each run.
func TestRetention(t *testing.T) {
	inMemory(t)
	t.Parallel()
	gone := 0
	for seed := range uint64(100) {
		m := newModel(t, seed)
		m.play(80)
		if gone += m.gone; t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if gone < 100 {
		t.Errorf("%d segments were pruned: this shows little", gone)
	}
}

func (m *model) play(n int) {
	for range n {
		mishap := ""
		switch m.draw.IntN(12) {
		case 0:
			mishap = "crash in"
		case 1:
			mishap = "fault in"
		case 2:
			m.trace = append(m.trace, "crash")
			m.crash(m.leave(), true)
		}
		// Mostly use one lane: a segment is pruned only when both scanners have finished it.
		m.step(m.draw.IntN(len(steps)), sample.Lanes[m.draw.IntN(5)/4], m.consumers[m.draw.IntN(2)], mishap)
	}
	m.drain()
}

// TestRetentionInEveryOrder tries all orders of three steps. The power is cut in the
// second step, in the third, or in none. One scanner has read more of the journal than
// the other.
func TestRetentionInEveryOrder(t *testing.T) {
	inMemory(t)
	t.Parallel()
	const long = 3
	orders := long // for the step in which the power is cut: the second, the third or none
	for range long {
		orders *= singly
	}
	for order := range orders {
		m := newModel(t, 2+uint64(order)*4+uint64(order%2)) // lazy
		for range 3 {
			m.append(journal.Live)
			m.must(m.lanes.Lane(journal.Live).Cut(m.now))
		}
		for i, c := range m.consumers {
			for range 1 + i {
				m.read(c, journal.Live)
				m.record(c)
			}
			m.must(c.lines.saveCursors())
		}
		cut := 1 + order%long
		for n, rest := 0, order/long; n < long; n++ {
			mishap := ""
			if n == cut {
				mishap = "crash in"
			}
			m.step(rest%singly, journal.Live, m.consumers[n%2], mishap)
			rest /= singly
		}
		m.drain()
		if t.Failed() {
			t.Fatalf("order %d", order)
		}
	}
}

// TestRetentionFindsAMutation: if segments are pruned by a floor that is one too high,
// the model must detect it.
func TestRetentionFindsAMutation(t *testing.T) {
	inMemory(t)
	t.Parallel()
	for seed := range uint64(150) {
		m := newModel(t, seed)
		m.say = func(string, ...any) { m.found = true }
		m.wrong = func(floor uint64) uint64 { return floor + 1 }
		if m.play(80); m.found {
			return
		}
	}
	t.Error("no run shows that segments are pruned ahead of a cursor")
}

// TestACursorThatIsHeldBackOverStarts: each start learns from the ledger which lines
// ahead of the cursor are finished, even those that were finished before the last start.
func TestACursorThatIsHeldBackOverStarts(t *testing.T) {
	inMemory(t)
	t.Parallel()
	m := newModel(t, 1)
	for range 5 {
		m.append(journal.Live)
	}
	for start := range 4 {
		c := m.consumers[0]
		for m.read(c, journal.Live) {
		}
		open := c.lines.live.open
		if start > 0 && open.Len() != 1 {
			t.Fatalf("start %d: %d lines are pushed, and one has no outcome", start, open.Len())
		}
		for e := open.Back(); e != open.Front(); e = open.Back() { // all but the oldest
			m.finish(c, e.Value.(*push))
		}
		m.must(c.lines.saveCursors())
		m.crash(m.d.Cut(0), false)
	}
	m.drain()
}

// TestACrashWhileALostCursorIsSavedAnew: the first cursor after that lies before lines whose
// outcomes the mark on disk has passed. Wherever the crash comes, no line gets two.
func TestACrashWhileALostCursorIsSavedAnew(t *testing.T) {
	inMemory(t)
	for nth := 1; ; nth++ {
		m := newModel(t, 0)
		c := m.consumers[0]
		for range 3 {
			m.append(journal.Live)
			m.push(c)
		}
		m.must(c.lines.saveCursors())
		m.must(m.cursors.Remove("one.live"))
		m.crash(m.d.Kill(), false)
		var left *disktest.Disk
		n := 0
		m.d.Before = func(disktest.Op) error {
			if n++; n == nth {
				left = m.d.Kill()
			}
			return nil
		}
		m.must(m.consumers[0].lines.saveCursors())
		m.d.Before = nil
		if left == nil {
			if nth < 8 {
				t.Errorf("%d operations: this shows little", n)
			}
			return
		}
		m.crash(left, false)
		m.push(m.consumers[0])
		if t.Failed() {
			t.Fatalf("a crash before operation %d", nth)
		}
	}
}

// TestLittleTrafficDoesNotKeepTheLedger: each segment of the ledger has one outcome, so
// each line is read while the active segment is empty. The marks move on all the same.
// Otherwise nothing could be pruned, and each start would read the whole ledger.
func TestLittleTrafficDoesNotKeepTheLedger(t *testing.T) {
	m := newModel(t, 0)
	for range 5 {
		m.append(journal.Live)
		for _, c := range m.consumers {
			m.push(c)
			m.must(c.lines.saveCursors())
		}
		m.must(m.led.Cut(m.now))
	}
	m.must(m.led.Tend(m.now, m.keep, m.savedMarks()))
	names, err := journal.Segments(m.led.Dir, ledger.Base)
	m.must(err)
	if len(names) > 3 { // the active one, and two in which marks may lie
		t.Errorf("%q are kept", names)
	}
	m.crash(m.d.Kill(), false)
	m.drain()
}

// anEvent returns a sample that came by an event.
func anEvent(path string, size int64, mtime watch.Time) sample.Sample {
	s := sample.OfFile(path, size, mtime)
	s.Seen, s.Via = time.Unix(1700000000, 123456789).UTC(), sample.ViaEvent
	return s
}

// inMemory skips a test in short mode, which is used for a second run on another system:
// the disk of the test is in memory and the same on all systems.
func inMemory(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("its disk is in memory and the same on every system")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// flooded is a source where lines stray all the time, and the index always lags behind by
// one of them.
type flooded struct {
	Apart
	told uint64
}

func (f *flooded) Strays() (told, forgotten uint64) {
	f.told++
	return f.told, f.told - 1
}

// TestCursorsAreSavedWhileLinesStrayAllTheTime: a standing waits for the lines that had
// strayed by then, not for those that stray meanwhile.
func TestCursorsAreSavedWhileLinesStrayAllTheTime(t *testing.T) {
	m := newModel(t, 1)
	c := m.consumers[0]
	c.lines.source = &flooded{}
	m.append(journal.Live)
	m.push(c)
	for range 3 {
		must(t, c.lines.saveCursors())
	}
	at, err := journal.LoadCursor(m.cursors, c.Name(), journal.Live)
	if want := m.lanes.Lane(journal.Live).Durable(); err != nil || at.Pos != want {
		t.Errorf("the cursor on disk is %v (%v), want %v", at, err, want)
	}
}
