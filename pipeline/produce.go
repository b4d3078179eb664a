// SPDX-License-Identifier: Apache-2.0

package pipeline

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
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

const (
	takeAtOnce = 1024        // settled paths that share one commit, at most
	tendEvery  = time.Second // index sync, look at the free space
)

// producer turns settled paths into journal lines:
// event -> settled -> Sample -> journal -> index; and sweeps for what events missed.
type producer struct {
	c       Config
	log     *slog.Logger
	watcher *watch.Watcher
	lanes   *journal.Lanes
	cursors journal.Folder
	index   *index.Index
	pruner  pruner
	m       *metrics

	mu      sync.Mutex
	claims  map[string]bool // paths that a sweep is journaling
	room    chan struct{}   // closed while there is room to take in
	full    error           // why there is none
	refused atomic.Int64    // appends that are being tried again
	swept   []time.Time     // when each tree's last sweep ended
	strays  []stray         // to be forgotten
	strayed chan struct{}   // wakes forgetStrays
	damaged []sample.Damage // unreadable lines whose samples are to be journaled again

	tended atomic.Int64 // when tend came round last, unix nanoseconds
}

func newProducer(ctx context.Context, c Config, lanes *journal.Lanes, cursors journal.Folder, m *metrics) (*producer, error) {
	p := &producer{c: c, log: c.Log, lanes: lanes, cursors: cursors, m: m, claims: map[string]bool{}, room: make(chan struct{}), swept: make([]time.Time, len(c.Trees)), strayed: make(chan struct{}, 1)}
	close(p.room)
	for _, t := range c.Trees {
		m.lost.WithLabelValues(t.Name) // shown as 0 before the first
	}
	var err error
	if p.watcher, err = newWatcher(c, m); err != nil {
		return nil, err
	}
	p.tended.Store(time.Now().UnixNano())
	if p.index, err = p.openIndex(ctx, filepath.Join(c.State, "index")); err != nil {
		return nil, err
	}
	p.pruner = pruner{lanes: lanes, cursors: cursors, scanners: c.Scanners, half: c.Half, marks: p.index.Marks, log: c.Log}
	return p, nil
}

// newWatcher returns a watcher of c's trees at rest; m may be nil.
func newWatcher(c Config, m *metrics) (*watch.Watcher, error) {
	w := watch.Config{Log: c.Log, Scratch: c.State}
	for _, t := range c.Trees {
		w.Trees = append(w.Trees, watchTree(t))
	}
	if m != nil {
		w.Lost = func(i int) { m.lost.WithLabelValues(c.Trees[i].Name).Inc() }
		w.Skipped = func(i int, _, reason string) { m.skipped.WithLabelValues(c.Trees[i].Name, reason).Inc() }
	}
	return watch.New(w)
}

// Engines names the engines of a tree that there are here, on other systems only,
// and not yet.
func Engines() (here, elsewhere, planned []string) { return watch.Engines() }

func watchTree(t config.Tree) watch.Tree {
	return watch.Tree{Name: t.Name, Path: t.Path, Include: t.Include, Exclude: t.Exclude, Settle: t.Settle, SettleLimit: t.SettleLimit, Engine: t.Engine}
}

// openIndex opens the index and holds it against the journal. One that is
// complete up to a segment that is not there any more knows files whose lines
// nobody can read: it is built anew.
func (p *producer) openIndex(ctx context.Context, dir string) (*index.Index, error) {
	x, err := index.Open(ctx, p.c.disk, dir, p.log)
	if err != nil {
		return nil, err
	}
	for lane, m := range x.Marks() {
		if m == (journal.Pos{}) {
			continue
		}
		there, err := p.lanes.Has(lane, m.Segment)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("hold index against journal: %w", err), x.Close())
		}
		if there && !p.lanes.Lane(lane).Durable().Before(m) {
			continue
		}
		if err := x.Close(); err != nil {
			return nil, err
		}
		return index.Anew(ctx, p.c.disk, dir, p.log, fmt.Errorf("it knows lane %s up to %s, which is not in the journal", lane, m))
	}
	return x, nil
}

// Run watches, journals and sweeps until ctx ends.
func (p *producer) Run(ctx context.Context) error {
	if err := p.catchUp(ctx); err != nil {
		return err
	}
	p.look()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.watcher.Run(ctx) })
	g.Go(func() error { return p.takeIn(ctx) })
	g.Go(func() error { return p.sweeps(ctx) })
	g.Go(func() error { return p.tend(ctx) })
	g.Go(func() error { return p.forgetStrays(ctx) })
	g.Go(func() error { return p.lanes.Run(ctx, func(time.Time) { p.pruner.prune(p.c.Journal.Keep) }) })
	return g.Wait()
}

func (p *producer) close() error { return p.index.Close() }

// catchUp reads the journal's tail into the index: lines that were durable
// before a crash and not noted yet. It comes before any sweep, so that nothing
// is journaled twice.
func (p *producer) catchUp(ctx context.Context) error {
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

func (p *producer) catchUpLane(ctx context.Context, lane string, r *journal.Reader) error {
	var batch []index.Noted
	for {
		line, ok, err := r.Next()
		if err != nil {
			return err
		}
		if ok {
			if s, err := sample.ParseLine(line.Text); err == nil && sample.OfAll(s) {
				st, err := watch.Lstat(s.Path)
				if err != nil || st.Size != s.Size || st.Mtime != s.Mtime || s.Via == sample.ViaLimit {
					st = watch.Stat{Size: s.Size, Mtime: s.Mtime} // another version lies there: the sweep sees it
				}
				batch = append(batch, index.Noted{Path: s.Path, Stat: st, At: line.At})
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

// takeIn journals what settled.
func (p *producer) takeIn(ctx context.Context) error {
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
				runtime.Gosched() // to who may be about to send
			}
		}
		if !p.wait(ctx) || !p.take(ctx, batch) {
			return nil
		}
	}
}

// take journals one batch of settled paths; false means that ctx ended first.
func (p *producer) take(ctx context.Context, batch []watch.Calm) bool {
	var files []found
	at := map[string]int{}
	for _, c := range batch {
		if p.claimed(c.Path) {
			p.watcher.Again(c.Path) // a sweep is at it: ask again when it is indexed
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
		at[c.Path] = len(files)
		files = append(files, found{c.Tree, c.Path, c.Stat, c.Via, c.At})
	}
	ok := p.write(ctx, journal.Live, files)
	for _, f := range files {
		p.watcher.Done(f.path)
	}
	return ok
}

func (p *producer) claimed(path string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.claims[path]
}

// found is a file to journal.
type found struct {
	tree int
	path string
	stat watch.Stat
	via  string
	at   time.Time
}

// known reports whether the index has path in this version.
func (p *producer) known(path string, st watch.Stat) bool {
	e, ok, err := p.index.Get(path)
	if err != nil {
		p.log.Error("index cannot be read; the file is journaled, perhaps again", "path", path, "error", err)
	}
	return ok && err == nil && e.Stat.Same(st)
}

// sized reports whether a file is not below its tree's min_size, and counts one
// that is.
func (p *producer) sized(tree int, st watch.Stat, count bool) bool {
	if st.Size < p.c.Trees[tree].MinSize {
		if !count {
			return false
		}
		p.m.skipped.WithLabelValues(p.c.Trees[tree].Name, "min_size").Inc()
		return false
	}
	return true
}

// write appends files to a lane and notes them in the index, in this order. It
// tries until it succeeds or ctx ends: then it returns false.
func (p *producer) write(ctx context.Context, lane string, files []found) bool {
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
		p.refused.Add(1)
		defer p.refused.Add(-1)
	}
	for err != nil {
		p.fail(fmt.Errorf("append to journal: %w", err))
		t := time.NewTimer(tendEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
		first, after, err = p.lanes.Lane(lane).Append(lines...)
	}
	// A crash here: the lines are there and the index lacks them; at start the
	// journal's tail is read into it.
	notes := make([]index.Noted, len(files))
	at := first
	for i, f := range files {
		notes[i] = index.Noted{Path: f.path, Stat: f.stat, At: at}
		if f.via == sample.ViaLimit { // once it has settled it is journaled again, whatever its times say
			notes[i].Stat = watch.Stat{Size: f.stat.Size, Mtime: f.stat.Mtime}
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

// wait returns when there is room to take in; false means that ctx ended.
func (p *producer) wait(ctx context.Context) bool {
	p.mu.Lock()
	room := p.room
	p.mu.Unlock()
	select {
	case <-room:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// stopped is nil while there is room to take in.
func (p *producer) stopped() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full == nil {
		return nil
	}
	return fmt.Errorf("intake is stopped: %w", p.full)
}

// fail stops the intake until tend finds that it can go on.
func (p *producer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full != nil {
		return
	}
	p.full, p.room = err, make(chan struct{})
	p.log.Error("intake stops; pushing goes on, and a sweep takes in what was missed when there is room again: free some space on the disk of the journal", "folder", p.c.Journal.Dir, "error", err)
}

// tend syncs the index and looks at the free space each second.
func (p *producer) tend(ctx context.Context) error {
	p.tended.Store(time.Now().UnixNano())
	t := time.NewTicker(tendEvery)
	defer t.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.index.Found():
			err := p.index.Damage()
			return errors.Join(fmt.Errorf("the index: %w: start certpush again, then it is built anew", err), index.LeaveDamaged(p.c.disk, filepath.Join(p.c.State, "index"), err))
		case <-t.C:
		}
		p.tended.Store(time.Now().UnixNano())
		err := p.index.Sync(ctx)
		if err != nil && !failing {
			p.log.Error("index cannot be synced; nothing is pruned meanwhile: look at the disk", "error", err)
		}
		failing = err != nil
		p.look()
		p.hearDamage()
	}
}

// look holds the free space against min_free: below it finished segments go
// first, then intake stops.
func (p *producer) look() {
	short := p.short()
	if short != nil {
		p.pruner.prune(1)
		short = p.short()
	}
	p.mu.Lock()
	was := p.full
	p.mu.Unlock()
	switch {
	case short != nil:
		p.fail(short)
	case was != nil && p.refused.Load() == 0: // else who appends tries it each second
		p.log.Info("intake goes on; a sweep takes in what was missed")
		p.mu.Lock()
		p.full = nil
		close(p.room)
		p.mu.Unlock()
		p.sweepAll()
	}
}

func (p *producer) short() error {
	free, err := p.lanes.Free()
	if err != nil || free >= p.c.Journal.MinFree {
		return nil
	}
	return fmt.Errorf("%d MiB are free, min_free is %d MiB", free>>20, p.c.Journal.MinFree>>20)
}

func (p *producer) sweepAll() {
	for i, t := range p.c.Trees {
		p.watcher.Ask(i, t.Path)
	}
}

func (p *producer) status() []TreeStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []TreeStatus
	for i, t := range p.watcher.State() {
		s := TreeStatus{Name: t.Name, Path: t.Path, Engine: t.Engine, Directories: t.Directories, Lost: t.Lost}
		if at := p.swept[i]; !at.IsZero() {
			s.LastSweep = &at
		}
		all = append(all, s)
	}
	return all
}

// ready is nil while every tree is watched and the disk lets us take in.
func (p *producer) ready() error {
	var errs []error
	for _, t := range p.watcher.State() {
		if !t.Armed {
			errs = append(errs, fmt.Errorf("tree %s is not watched: see that %s is there", t.Name, t.Path))
		}
	}
	if err := p.index.Stalled(); err != nil {
		errs = append(errs, fmt.Errorf("the index cannot be written, and intake waits: %w", err))
	}
	return errors.Join(append(errs, p.stopped())...)
}
