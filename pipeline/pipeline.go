// SPDX-License-Identifier: Apache-2.0

// Package pipeline is the way of a sample, from a file that is dropped in a
// tree to the recorded outcome of each scanner.
//
// It promises:
//
//	A settled file is journaled before anything else is done with it. Every
//	journaled sample gets exactly one recorded outcome from each scanner. The
//	cursor passes only samples that have theirs. A crash can repeat a push; it
//	cannot lose one.
//
// The way, top to bottom (produce.go, then consume.go, session.go, push.go):
//
//	tree --event--> settle --> Sample --> journal --> index          producer
//	  \--sweep (what the index does not know)--^ |
//	                                             v
//	       cursor <-- ledger <-- verdict <-- worker: open, hash, scan   consumer,
//	                                                           one for each scanner
//
// Invariants:
//
//  1. Events are hints. The tree itself, held against the index, is the truth:
//     every doubt ends in a sweep.
//  2. Consumers are handed durable lines only.
//  3. An outcome is durable in the ledger before the cursor passes its line; at
//     start the ledger's tail tells which lines ahead of a cursor are finished.
//  4. At most `workers` samples are pushed and not yet recorded, so a crash
//     repeats at most that many.
//  5. Only an answer that is tied to its sample and that the grammar knows is a
//     verdict. A failed try counts only when the scanner judged something since.
//  6. Nothing is pruned ahead of a cursor or of the index's mark on disk.
//  7. A sample is never altered.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/certpush/certpush/pipeline/internal/cache"
	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
)

// ErrLocked is in Run's error when another process holds the state or the
// journal folder for the same half.
var ErrLocked = journal.ErrLocked

// Pipeline is the way of a sample. Take New, then Run.
type Pipeline struct {
	c Config
	m *metrics

	verifying   sync.Mutex
	unaccounted atomic.Pointer[int64] // by the last verify

	mu        sync.Mutex
	started   time.Time
	running   bool  // Run has not returned
	trouble   error // why the state could not be opened yet
	producer  *producer
	consumers []*consumer
}

// New checks c and returns a Pipeline at rest: nothing is opened or started. The
// error says what is wrong with c.
func New(c Config) (*Pipeline, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	for _, s := range c.Scanners {
		if _, err := scan.New(scanConfig(s, c.Log)); err != nil {
			return nil, fmt.Errorf("scanner %s: %w", s.Name, err)
		}
	}
	p := &Pipeline{c: c, m: newMetrics()}
	if c.Registry != nil {
		for _, m := range append(p.m.all(), gauges{p}) {
			if err := c.Registry.Register(m); err != nil {
				return nil, fmt.Errorf("register metrics: %w", err)
			}
		}
	}
	return p, nil
}

func scanConfig(s config.Scanner, log *slog.Logger) scan.Config {
	return scan.Config{Type: s.Type, Addresses: s.Addresses, Timeout: s.Timeout, MaxSize: s.MaxSize, Lists: s.Lists, Keyed: s.Cache > 0, Log: log}
}

// Run watches, journals and pushes until ctx ends. It returns when all that it
// started has stopped: nil after a clean stop, an error with ErrLocked when
// another process holds the folders. While the disk refuses to open the state it
// waits; Ready says so.
func (p *Pipeline) Run(ctx context.Context) error {
	p.runs(true)
	defer p.runs(false)
	for {
		err := p.run(ctx)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil // stopped while it opened
		}
		if err == nil || ctx.Err() != nil || !store.Refuses(err) && !errors.Is(err, store.ErrHeld) && !errors.Is(err, errInside) {
			return err
		}
		p.mu.Lock()
		first := p.trouble == nil
		p.trouble = err
		p.mu.Unlock()
		if first {
			p.c.Log.Error("the state cannot be opened; it is tried again every few seconds: make room on its disk, or mend it", "state", p.c.State, "error", err)
		}
		t := time.NewTimer(openAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// opening reports whether Run has begun, and has not opened the state or has
// closed it again.
func (p *Pipeline) opening() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running && p.producer == nil && p.consumers == nil
}

func (p *Pipeline) runs(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = on
}

// openAgain is how long a state that the disk refuses to open is left alone.
const openAgain = 2 * time.Second

func (p *Pipeline) run(ctx context.Context) (err error) {
	var closers []func() error
	defer func() {
		p.mu.Lock()
		p.producer, p.consumers = nil, nil
		p.mu.Unlock()
		for i := len(closers) - 1; i >= 0; i-- {
			err = errors.Join(err, closers[i]())
		}
	}()
	var run []func(context.Context) error
	tails := map[string]journal.Tail{}
	for _, half := range config.Locks(p.c.Half) {
		lock, err := p.c.disk.TakeLock(half, p.c.State, p.c.Journal.Dir)
		if err != nil {
			return err
		}
		closers = append(closers, lock.Close)
	}
	dirs, err := store.OpenFolders(p.c.disk, p.c.State, p.c.Journal.Dir)
	if err != nil {
		return err
	}
	closers = append(closers, dirs.Close)
	var prod *producer
	if p.c.Half != config.ConsumerOnly {
		l, err := journal.OpenLanes(journal.Config{Disk: p.c.disk, Dir: p.c.Journal.Dir, First: dirs.First, CutSize: p.c.Journal.CutSize, Sync: p.c.Journal.Sync}, p.c.Journal.CutEvery, p.c.Log)
		if err != nil {
			return inside(err)
		}
		closers = append(closers, l.Close)
		for _, lane := range sample.Lanes {
			tails[lane] = l.Lane(lane)
		}
		if prod, err = newProducer(ctx, p.c, l, dirs.Cursors, p.m); err != nil {
			return inside(err)
		}
		closers = append(closers, prod.close)
		run = append(run, prod.Run, keepKeys(p.c, dirs.Journal, journal.Base(journal.Live), journal.Base(journal.Backlog)))
	}
	var consumers []*consumer
	var led *ledger.Ledger
	if p.c.Half != config.ProducerOnly {
		if p.c.Half == config.ConsumerOnly {
			for _, lane := range sample.Lanes {
				f := journal.NewFollower(dirs.Journal, journal.Base(lane), p.c.Log)
				tails[lane] = f
				run = append(run, f.Run)
			}
		}
		led, err = ledger.Open(p.c.disk, filepath.Join(p.c.State, "ledger"), p.c.Ledger.Keep, p.c.Log)
		if err != nil {
			return inside(err)
		}
		closers = append(closers, led.Close)
		if consumers, err = p.openConsumers(ctx, led, dirs, tails, prod); err != nil {
			return inside(err)
		}
		for _, c := range consumers {
			closers = append(closers, c.close)
			run = append(run, c.Run)
		}
		run = append(run, func(ctx context.Context) error {
			return led.Run(ctx, func() []ledger.Mark { return savedMarks(consumers) })
		}, keepKeys(p.c, led.Dir, ledger.Base, ledger.TriesBase))
		longest := time.Duration(0)
		for _, s := range p.c.Scanners {
			longest = max(longest, s.Cache)
		}
		if longest > 0 {
			known, err := cache.Open(ctx, p.c.disk, p.c.State, longest, p.c.Log)
			if err != nil {
				return err
			}
			closers, run = append(closers, known.Close), append(run, known.Run)
			for _, c := range consumers {
				if c.c.Cache > 0 {
					c.cache, c.opener.careful = known, true
				}
			}
		}
	}
	tellForeign(p.c, dirs, led)
	p.mu.Lock()
	p.started, p.producer, p.consumers = time.Now(), prod, consumers
	again := p.trouble != nil
	p.trouble = nil
	p.mu.Unlock()
	if again {
		p.c.Log.Info("the state is open", "state", p.c.State)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range run {
		g.Go(func() error { return r(ctx) })
	}
	return inside(g.Wait())
}

// openConsumers makes a consumer for each scanner, and puts the cursors of
// scanners that are no longer configured aside: they would hold segments back
// for ever.
func (p *Pipeline) openConsumers(ctx context.Context, led *ledger.Ledger, dirs *store.Folders, tails map[string]journal.Tail, prod *producer) ([]*consumer, error) {
	if err := p.putAside(dirs.Cursors); err != nil {
		return nil, err
	}
	var all []*consumer
	for _, s := range p.c.Scanners {
		c, err := newConsumer(ctx, p.c, s, led, dirs, p.m, func(lane string) journal.Tail { return tails[lane] })
		if err != nil {
			for _, c := range all {
				err = errors.Join(err, c.close())
			}
			return nil, err
		}
		if prod != nil {
			c.again, c.stray, c.forget = prod.watcher.Again, prod.stray, prod.forget
		}
		all = append(all, c)
	}
	return all, nil
}

func (p *Pipeline) putAside(dir journal.Folder) error {
	for _, lane := range sample.Lanes {
		files, err := store.CursorFiles(dir, lane)
		if err != nil {
			return fmt.Errorf("list cursors: %w", err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(file, "."+lane)
			if slices.ContainsFunc(p.c.Scanners, func(s config.Scanner) bool { return s.Name == name }) {
				continue
			}
			p.c.Log.Warn("scanner is not configured any more; its cursor is put aside and holds no segments back: delete the file, or rename it back before you configure the scanner again", "scanner", name, "file", filepath.Join(dir.Path(), file+".removed"))
			if err := dir.Rename(file, file+".removed"); err != nil {
				return fmt.Errorf("put cursor aside: %w", err)
			}
		}
	}
	return nil
}

// Status tells what waits, how old it is, and how trees and scanners do. While
// Run is not running it is empty.
func (p *Pipeline) Status() Status {
	prod, consumers, started := p.halves()
	s := Status{Started: started, Trees: []TreeStatus{}, Scanners: []ScannerStatus{}}
	if prod != nil {
		s.Trees = append(s.Trees, prod.status()...)
	}
	for _, c := range consumers {
		s.Scanners = append(s.Scanners, c.status())
	}
	return s
}

// errOpening says that Run has begun, and reads what an earlier one left.
var errOpening = errors.New("journal, ledger and index are being opened: wait for it")

func (p *Pipeline) halves() (*producer, []*consumer, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.producer, p.consumers, p.started
}

// Ready is nil when the trees are watched, there is room to take in, outcomes
// can be recorded, and each scanner answered its last ping; otherwise it says
// what is missing.
func (p *Pipeline) Ready() error {
	prod, consumers, started := p.halves()
	if started.IsZero() || prod == nil && consumers == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch {
		case p.running && p.trouble != nil:
			return fmt.Errorf("the state cannot be opened: %w", p.trouble)
		case p.running:
			return errOpening
		}
		return errors.New("not running")
	}
	var errs []error
	if prod != nil {
		errs = append(errs, prod.ready())
	}
	for _, c := range consumers {
		if !c.health.state().up {
			errs = append(errs, fmt.Errorf("scanner %s did not answer its last ping", c.c.Name))
		}
		errs = append(errs, c.ready())
	}
	return errors.Join(errs...)
}

// Sweep asks for a sweep of the named tree, or of all trees when name is empty.
func (p *Pipeline) Sweep(name string) error {
	prod, _, _ := p.halves()
	if prod == nil {
		return errNoProducer
	}
	found := false
	for i, t := range p.c.Trees {
		if name == "" || name == t.Name || name == t.Path {
			prod.watcher.Ask(i, t.Path)
			found = true
		}
	}
	if !found && name != "" {
		return fmt.Errorf("no tree is named %q: see `certpush status`", name)
	}
	return nil
}

func (p *Pipeline) waiting(i int) map[string]int64 {
	_, consumers, _ := p.halves()
	if i >= len(consumers) {
		return nil
	}
	return consumers[i].waitingIn()
}

func (p *Pipeline) journalSize() int64 {
	prod, _, _ := p.halves()
	if prod == nil {
		return 0
	}
	return prod.lanes.Size()
}

// keepKeys returns what keeps the keys of the series in dir while it runs.
func keepKeys(c Config, dir journal.Folder, bases ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		return journal.KeepKeys(ctx, dir, bases, sample.KeysOf, c.Journal.MinFree, c.Log)
	}
}
