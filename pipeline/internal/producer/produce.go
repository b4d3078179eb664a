// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

const (
	takeAtOnce = 1024        // at most this many settled paths share one commit
	tendEvery  = time.Second // sync the index and look at the free space this often
)

// Config says what a Producer watches and where it journals.
type Config struct {
	State    string // folder of the index
	Trees    []config.Tree
	Journal  config.Journal
	Scanners []config.Scanner // their cursors hold segments back
	Half     config.Half

	Disk     store.Disk
	Lanes    *journal.Lanes // must be closed after the Producer
	Cursors  journal.Folder
	Outcomes Outcomes // reads the ledger; it is called while the Producer runs
	Metrics  *Metrics
	Log      *slog.Logger
	Nap      func(time.Duration) // as watch.Config has it
	Ears     *watch.Ears         // as watch.Config has them
}

// Outcomes calls each with up to most lines of the ledger, from a place on, and returns
// the place behind them: the same if there are no more. "" is a place too, before the
// newest ones.
type Outcomes func(from string, most int, each func(text []byte)) (after string, err error)

// Producer turns settled paths into journal lines: event -> settled -> Sample ->
// journal -> index. It sweeps the trees for files that events missed. Call New, then
// Run, then Close.
type Producer struct {
	c       Config
	log     *slog.Logger
	watcher *watch.Watcher
	lanes   *journal.Lanes
	index   *index.Index
	pruner  Pruner
	m       *Metrics

	gate    *gate
	claims  *claims
	damages *damages
	taken   *takenBack
	proofs  *proofs
	media   *media
	often   *often
	*strays

	folders []*folders   // of each tree; see there
	tended  atomic.Int64 // when tend ran last, in Unix nanoseconds

	mu    sync.Mutex // guards the field below
	swept []swept    // of each tree
}

// New returns a Producer that does not run yet. Its index is open, and fits the
// journal.
func New(ctx context.Context, c Config) (*Producer, error) {
	p := &Producer{
		c: c, log: c.Log, lanes: c.Lanes, m: c.Metrics, gate: newGate(c.Journal.Dir, c.Log), claims: &claims{paths: map[string]bool{}}, swept: make([]swept, len(c.Trees)),
		often: newOften(c.Trees, c.Log),
	}
	for _, t := range c.Trees {
		p.m.begin(t.Name)
		p.folders = append(p.folders, newFolders())
	}
	w := watch.Config{Log: c.Log, Scratch: c.State, Trees: WatchTrees(c.Trees), Nap: c.Nap, Ears: c.Ears}
	w.Lost = func(i int) { p.m.lost.WithLabelValues(c.Trees[i].Name).Inc() }
	w.Skipped = func(i int, _, reason string) { p.m.skipped.WithLabelValues(c.Trees[i].Name, reason).Inc() }
	var err error
	if p.watcher, err = watch.New(w); err != nil {
		return nil, err
	}
	p.tended.Store(time.Now().UnixNano())
	if p.index, err = openIndex(ctx, c, filepath.Join(c.State, "index")); err != nil {
		return nil, err
	}
	p.strays = newStrays(p.index, p.watcher, c.Log)
	p.taken = &takenBack{cursors: c.Cursors, lanes: c.Lanes, gate: p.gate, m: c.Metrics, log: c.Log}
	p.proofs = &proofs{
		index: p.index, watcher: p.watcher, outcomes: c.Outcomes, log: c.Log,
		cursors: func(lane string) (journal.Pos, error) { return cursorPlace(c.Cursors, lane, c.Scanners, c.Half) },
		woken:   make(chan struct{}, 1), asked: map[string]*question{}, waiting: map[string]bool{},
	}
	p.media = &media{proofs: p.proofs, trees: WatchTrees(c.Trees), log: c.Log, woken: make(chan struct{}, 1), asked: map[string]medium{}}
	p.damages = &damages{index: p.index, cursors: c.Cursors, log: c.Log}
	p.pruner = Pruner{Lanes: c.Lanes, Cursors: c.Cursors, Scanners: c.Scanners, Half: c.Half, Max: c.Journal.Max, Marks: p.index.Marks, Log: c.Log}
	return p, nil
}

// WatchTrees returns the trees in the form that package watch takes.
func WatchTrees(trees []config.Tree) (all []watch.Tree) {
	for _, t := range trees {
		all = append(all, watch.Tree{Name: t.Name, Path: t.Path, Include: t.Include, Exclude: t.Exclude, Settle: t.Settle, Quiet: t.Quiet, SettleLimit: t.SettleLimit, Engine: t.Engine})
	}
	return all
}

// openIndex opens the index and compares its marks with the journal. If a mark names a
// place that is not in the journal, the index knows files whose lines nobody can read:
// then it is built anew, and no new line gets a place before the mark.
func openIndex(ctx context.Context, c Config, dir string) (*index.Index, error) {
	x, err := index.Open(ctx, c.Disk, dir, c.Log)
	if err != nil {
		return nil, err
	}
	var ahead error
	for lane, m := range x.Marks() {
		if m == (journal.Pos{}) {
			continue
		}
		there, err := c.Lanes.Has(lane, m)
		if err == nil && !there {
			ahead = fmt.Errorf("it knows lane %s up to %s, which is not in the journal", lane, m)
			_, err = c.Lanes.Lane(lane).Raise(m)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("hold index against journal: %w", err), x.Close())
		}
	}
	if ahead == nil {
		return x, nil
	}
	if err := x.Close(); err != nil {
		return nil, err
	}
	return index.Anew(ctx, c.Disk, dir, c.Log, ahead)
}

// Run watches, journals and sweeps until ctx ends. It returns when all its goroutines
// have ended.
func (p *Producer) Run(ctx context.Context) error {
	if err := p.catchUp(ctx); err != nil {
		return err
	}
	p.keepRoom()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.watcher.Run(ctx) })
	g.Go(func() error { return p.takeIn(ctx) })
	g.Go(func() error { return p.sweeps(ctx) })
	g.Go(func() error { return p.tend(ctx) })
	g.Go(func() error { return p.strays.run(ctx) })
	g.Go(func() error { return p.proofs.run(ctx) })
	g.Go(func() error { return p.media.run(ctx) })
	g.Go(func() error { return p.lanes.Run(ctx, func(time.Time) { p.Prune(p.c.Journal.Keep) }) })
	return g.Wait()
}

// Close closes the index.
func (p *Producer) Close() error { return p.index.Close() }

// Prune deletes the sealed segments that nobody needs; the newest keep of them stay.
func (p *Producer) Prune(keep int) { p.pruner.Prune(keep) }

// Watcher returns the watcher of the trees.
func (p *Producer) Watcher() *watch.Watcher { return p.watcher }

// Recorded tells the producer that the ledger has another outcome. It never waits.
func (p *Producer) Recorded() { p.proofs.wake() }

// Index returns the index of the journaled files.
func (p *Producer) Index() *index.Index { return p.index }

// catchUp reads the journal's tail into the index: lines that were durable before a
// crash and not noted yet. It must run before any sweep, so that nothing is journaled
// twice.
func (p *Producer) catchUp(ctx context.Context) error {
	for _, lane := range sample.Lanes {
		r, err := p.lanes.NewReader(lane, p.index.Marks()[lane], p.log)
		if err != nil {
			return fmt.Errorf("read journal's tail: %w", err)
		}
		err = p.catchUpLane(ctx, lane, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("read journal's tail: %w", err)
		}
	}
	return p.index.Sync(ctx)
}

func (p *Producer) catchUpLane(ctx context.Context, lane string, r *journal.Reader) error {
	var batch []index.Noted
	anew := r.At() == (journal.Pos{})
	for {
		line, ok, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if ok {
			if s, err := sample.ParseLine(line.Text); err == nil && sample.OfAll(s) {
				st, err := watch.Lstat(s.Path)
				if err != nil || st.Size != s.Size || st.Mtime != s.Mtime || s.Via == sample.ViaLimit {
					st = watch.Stat{Size: s.Size, Mtime: s.Mtime} // another version lies there, which the sweep will find
				}
				noted := index.Noted{Path: s.Path, Stat: st, At: line.At, Bytes: bytesOf(st, s.Seen)}
				if anew && time.Since(s.Seen) > time.Minute { // its outcome may lie too far back in the ledger to be found
					noted.Bytes = index.Plain
				}
				batch = append(batch, noted)
			}
		}
		if len(batch) >= takeAtOnce || !ok && r.At() != (journal.Pos{}) {
			p.tended.Store(time.Now().UnixNano())
			if err := p.index.Note(ctx, lane, batch, r.At()); err != nil {
				return err
			}
			batch = batch[:0]
		}
		if !ok {
			return nil
		}
	}
}

// takeIn journals the paths that settle, until ctx ends. Paths that settle at the same
// time share one commit.
func (p *Producer) takeIn(ctx context.Context) error {
	batch := make([]watch.Calm, 0, takeAtOnce)
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-p.watcher.Calm():
			batch = append(batch[:0], c)
		}
		for idle := 0; len(batch) < takeAtOnce && idle < 3; {
			select {
			case c := <-p.watcher.Calm():
				batch, idle = append(batch, c), 0
			default:
				idle++
				runtime.Gosched() // lets goroutines run that may be about to send
			}
		}
		if !p.gate.wait(ctx) || !p.take(ctx, batch) {
			return nil
		}
	}
}

// take journals one batch of settled paths. It returns false if ctx ended first.
func (p *Producer) take(ctx context.Context, batch []watch.Calm) bool {
	var files []found
	at := map[string]int{}
	for _, c := range batch {
		if p.claims.has(c.Path) {
			p.watcher.Again(c.Path) // a sweep journals it now: settle it again, and then the index knows it
			continue
		}
		if i, ok := at[c.Path]; ok {
			files[i] = found{c.Tree, c.Path, c.Stat, c.Via, c.At}
			continue
		}
		if p.known(c.Path, c.Stat) && c.Via != sample.ViaLimit || !p.sized(c.Tree, c.Stat, true) {
			p.watcher.Done(c.Path)
			continue
		}
		if wait := p.often.pause(c.Path); wait > 0 && c.Via != sample.ViaLimit {
			p.watcher.Rest(c.Path, wait)
			continue
		}
		at[c.Path] = len(files)
		files = append(files, found{c.Tree, c.Path, c.Stat, c.Via, c.At})
	}
	ok := p.write(ctx, journal.Live, files)
	for _, f := range files {
		p.often.journaled(f)
		p.watcher.Done(f.path)
	}
	return ok
}

// found is a file to journal.
type found struct {
	tree int
	path string
	stat watch.Stat
	via  string
	at   time.Time
}

// known reports whether the index has path in this version. If the index cannot be read
// it returns false. If the version does not prove the bytes it asks for their proof.
func (p *Producer) known(path string, st watch.Stat) bool {
	e, ok, err := p.index.Get(path)
	if err != nil {
		p.log.Error("index cannot be read; the file is journaled, perhaps again", "path", path, "error", err)
	}
	if !ok || err != nil || !e.Knows(st, p.watcher.Same(path, st.Dev)) {
		return false
	}
	if e.InDoubt() {
		p.proofs.ask(path, st)
	}
	return true
}

// bytesOf returns what an entry begins with, if its file had st at a time.
func bytesOf(st watch.Stat, at time.Time) index.Bytes {
	if young(st, at) {
		return index.Young
	}
	return index.Plain
}

// sized reports whether a file has at least its tree's min_size. With count it counts a
// smaller one as skipped.
func (p *Producer) sized(tree int, st watch.Stat, count bool) bool {
	if st.Size < p.c.Trees[tree].MinSize {
		if !count {
			return false
		}
		p.m.skipped.WithLabelValues(p.c.Trees[tree].Name, "min_size").Inc()
		return false
	}
	return true
}

// write appends files to a lane, and then notes them in the index. It tries again each
// second until the append succeeds. It returns false if ctx ended first. If it cannot
// note them it logs that and returns true: the lines are durable.
func (p *Producer) write(ctx context.Context, lane string, files []found) bool {
	if len(files) == 0 {
		return true
	}
	lines := make([][]byte, len(files))
	for i, f := range files {
		s := sample.OfFile(f.path, f.stat.Size, f.stat.Mtime)
		s.Seen, s.Via = f.at, f.via
		lines[i] = sample.AppendLine(make([]byte, 0, 192+len(f.path)), s)
	}
	first, after, err := p.lanes.Lane(lane).Append(lines...)
	if err != nil {
		p.gate.refused.Add(1)
		defer p.gate.refused.Add(-1)
	}
	for err != nil {
		p.gate.fail(fmt.Errorf("append to journal: %w", err))
		t := time.NewTimer(tendEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
		first, after, err = p.lanes.Lane(lane).Append(lines...)
	}
	// A crash here: the lines are durable and the index lacks them. At start the
	// journal's tail is read into it.
	notes := make([]index.Noted, len(files))
	at := first
	for i, f := range files {
		notes[i] = index.Noted{Path: f.path, Stat: f.stat, At: at, Bytes: bytesOf(f.stat, f.at)}
		if f.via == sample.ViaLimit { // when it has settled it must be journaled again, even with the same size and mtime
			notes[i].Stat, notes[i].Bytes = watch.Stat{Size: f.stat.Size, Mtime: f.stat.Mtime}, index.Plain
		}
		at.Offset += int64(len(lines[i]))
		p.m.seen.WithLabelValues(p.c.Trees[f.tree].Name, f.via).Inc()
	}
	if err := p.index.Note(ctx, lane, notes, after); err != nil {
		p.log.Error("index cannot be written; after a restart the journal's tail is read into it: look at the disk", "error", err)
	}
	p.m.journaled.WithLabelValues(lane).Add(float64(len(files)))
	return true
}
