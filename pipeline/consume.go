// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"container/heap"
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/certpush/certpush/pipeline/internal/cache"
	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
)

const (
	joinFor        = 250 * time.Millisecond // how long a session takes in further samples, at most
	sessionsAtOnce = 2
	slowAfter      = 300 * time.Millisecond // a session that lasts longer counts no more as one of them
	maxHeld        = 50000                  // retries that may wait before no new line is taken
)

// consumer pushes the journal's lines to one scanner:
// next line -> worker -> ledger -> cursor; live lane first.
type consumer struct {
	c       config.Scanner
	log     *slog.Logger
	scanner scan.Scanner
	led     *ledger.Ledger
	m       *metrics
	opener  *opener
	health  *health
	limit   *rate.Limiter
	grace   time.Duration // a stop waits this long for the samples in hand
	cache   *cache.Cache  // nil: verdicts are not remembered

	again  func(path string)                                          // hands a changed path back to settle
	stray  func(path string, at sample.At)                            // tells of a line whose path led to no file
	forget func(ctx context.Context, path string, at sample.At) error // has the index forget a line, durably
	told   func(sample.Outcome)

	live, backlog *lane
	places        chan struct{} // one for each worker
	sessions      chan struct{} // one for each session, while it is not slow
	share         int           // samples in such a session, at most
	turn          int           // of the dispatcher: fresh lines and retries
	picks         atomic.Uint64 // of lines that were not tried yet
	cursors       journal.Folder
	markFile      string // in cursors, and the lanes' files too
	savedMark     ledger.Mark

	mu      sync.Mutex
	handed  ledger.Mark // the ledger's end when a line was read last, or a mark before it
	opened  map[*push]*list.Element
	retries retryHeap
	parked  []*push // their hash takes long, and gave way
	resumed time.Time
	woken   chan struct{} // a retry came
	counts  map[string]int64
	changes map[string]int    // of versions: how often they were skipped as changed
	reads   map[string]uint64 // of trees: samples that were read to their end
	refused map[string]error  // what the disk refuses now, by what it keeps us from
	flying  atomic.Int64
	moved   atomic.Int64 // when a session ended last, unix nanoseconds
	begun   time.Time
}

// newConsumer returns a consumer at rest, its cursors loaded and its readers
// open. tail gives the tail of a lane.
func newConsumer(ctx context.Context, cfg Config, s config.Scanner, led *ledger.Ledger, dirs *store.Folders, m *metrics, tail func(lane string) journal.Tail) (*consumer, error) {
	log := cfg.Log.With("scanner", s.Name)
	sc, err := scan.New(scanConfig(s, log))
	if err != nil {
		return nil, fmt.Errorf("scanner %s: %w", s.Name, err)
	}
	c := &consumer{
		c: s, log: log, scanner: sc, led: led, m: m, opener: newOpener(cfg.Trees), told: cfg.Outcome, grace: cfg.Grace,
		health: newHealth(s, sc, log), places: make(chan struct{}, s.Workers),
		cursors: dirs.Cursors, markFile: s.Name + ".mark", opened: map[*push]*list.Element{},
		woken: make(chan struct{}, 1), counts: map[string]int64{}, changes: map[string]int{}, reads: map[string]uint64{}, refused: map[string]error{}, begun: time.Now(),
	}
	// Few sessions of many samples: a session costs the scanner a connection. Two,
	// so that it has work while one of them ends and is recorded.
	c.moved.Store(time.Now().UnixNano())
	c.sessions = make(chan struct{}, min(s.Workers, sessionsAtOnce))
	c.share = max(1, s.Workers/cap(c.sessions))
	c.limit = rate.NewLimiter(rate.Inf, 1)
	if s.Rate.N > 0 {
		c.limit = rate.NewLimiter(rate.Every(s.Rate.Per/time.Duration(s.Rate.N)), 1)
	}
	for _, name := range sample.Lanes {
		l := &lane{name: name, file: s.Name + "." + name, queue: make(chan *push, s.Queue), open: list.New()}
		if err := c.openLane(dirs.Journal, l, tail(name)); err != nil {
			return nil, errors.Join(err, c.close())
		}
		if name == journal.Live {
			c.live = l
		} else {
			c.backlog = l
		}
	}
	if err := c.loadPause(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	// A lane that begins at its oldest line needs the whole ledger.
	from := ledger.Mark{}
	if !c.live.lost && !c.backlog.lost {
		from = ledger.LoadMark(c.cursors, c.markFile)
	}
	c.live.from, c.backlog.from, c.handed = from, from, from
	if err := c.readBack(ctx, dirs.Journal, from, tail, ledger.FoldAt); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *consumer) openLane(dir journal.Folder, l *lane, tail journal.Tail) error {
	cur, err := journal.LoadCursor(c.cursors, l.file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.log.Error("cursor cannot be read; reading begins at the oldest segment, and the ledger tells what is finished", "file", l.file, "error", err)
	}
	l.read, l.saved, l.lost = cur, cur, err != nil
	if l.r, err = journal.NewReader(dir, journal.Base(l.name), cur, tail, c.log); err != nil {
		return fmt.Errorf("read lane %s: %w", l.name, err)
	}
	if l.scout, err = journal.NewReader(dir, journal.Base(l.name), cur, tail, slog.New(slog.DiscardHandler)); err != nil {
		return fmt.Errorf("read lane %s: %w", l.name, err)
	}
	return nil
}

// readBack takes from the ledger which lines ahead of the cursors are finished.
func (c *consumer) readBack(ctx context.Context, dir journal.Folder, from ledger.Mark, tail func(lane string) journal.Tail, limit int) error {
	told := map[string]*ledger.Gathering{}
	for _, l := range []*lane{c.live, c.backlog} {
		r, err := journal.NewReader(dir, journal.Base(l.name), l.saved, tail(l.name), slog.New(slog.DiscardHandler))
		if err != nil {
			return fmt.Errorf("read lane %s: %w", l.name, err)
		}
		defer func() { _ = r.Close() }() // it only read
		told[l.name] = ledger.NewGathering(c.c.Name, l.saved, r, limit)
	}
	if err := c.led.ReadBack(ctx, from, func(scanner string, at sample.At) {
		if scanner == c.c.Name {
			told[at.Lane].Add(at.Pos)
		}
	}); err != nil {
		return err
	}
	c.live.left, c.backlog.left = told[journal.Live].End(), told[journal.Backlog].End()
	return nil
}

func (c *consumer) close() error {
	var errs []error
	for _, l := range []*lane{c.live, c.backlog} {
		if l == nil {
			continue
		}
		for _, r := range []*journal.Reader{l.r, l.scout} {
			if r != nil {
				errs = append(errs, r.Close())
			}
		}
	}
	return errors.Join(errs...)
}

// Run pushes until ctx ends, and then until the samples in hand are finished or
// given back.
func (c *consumer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.follow(ctx, c.live) })
	g.Go(func() error { return c.follow(ctx, c.backlog) })
	g.Go(func() error { return c.health.Run(ctx) })
	g.Go(func() error { return c.keepCursors(ctx) })
	g.Go(func() error { return c.dispatch(ctx) })
	err := g.Wait()
	// No reason to say that the stop failed: the ledger's tail tells what is finished.
	if err := c.saveCursors(); err != nil {
		c.log.Error("cursors cannot be saved; pushing goes on, a restart repeats less if you make room or mend the disk", "error", err)
	}
	return err
}

// dispatch gives each free worker the next sample.
func (c *consumer) dispatch(ctx context.Context) error {
	hand, drop := context.WithCancel(context.WithoutCancel(ctx))
	defer drop()
	var sessions sync.WaitGroup
	for {
		select {
		case c.places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil || c.health.wait(ctx) != nil {
			break
		}
		select {
		case c.sessions <- struct{}{}:
		case <-ctx.Done():
		}
		p := c.next(ctx)
		// It may have gone down, or been paused, while there was nothing to push.
		if p == nil || c.limit.Wait(ctx) != nil || c.health.wait(ctx) != nil {
			break // what was taken stays unfinished: the cursor is before it
		}
		over := sync.OnceFunc(func() { <-c.sessions })
		if p.alone {
			over() // one bad sample that hangs is not to keep good ones waiting
		}
		sessions.Go(func() {
			defer over()
			defer func() { c.moved.Store(time.Now().UnixNano()) }()
			// Nor are slow ones.
			slow := time.AfterFunc(slowAfter, over)
			defer slow.Stop()
			c.session(ctx, hand, p)
		})
	}
	late := time.AfterFunc(c.grace, drop)
	defer late.Stop()
	sessions.Wait()
	return nil
}

// next returns the sample to push next, or nil when ctx ended: live before
// backlog, but one in eight is the backlog's; a retry that is due every second
// time at most, so that bad samples never stop good ones.
func (c *consumer) next(ctx context.Context) *push {
	for {
		c.turn++
		if p := c.resume(false); p != nil {
			return p
		}
		due, wait := c.due(time.Now())
		if due != nil && c.turn%2 == 0 {
			return due
		}
		if p := c.fresh(); p != nil {
			if due != nil {
				c.later(due, due.due)
			}
			return p
		}
		if due != nil {
			return due
		}
		if p := c.resume(true); p != nil {
			return p
		}
		t := time.NewTimer(wait)
		live, backlog := c.live.queue, c.backlog.queue
		if c.crowded() {
			live, backlog = nil, nil
		}
		select {
		case p := <-live:
			t.Stop()
			return p
		case p := <-backlog:
			t.Stop()
			return p
		case <-c.woken:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		t.Stop()
	}
}

// fresh returns the next line that was not tried yet, nil when there is none.
func (c *consumer) fresh() *push {
	if c.crowded() {
		return nil
	}
	first, second := c.live.queue, c.backlog.queue
	if c.picks.Add(1)%8 == 0 {
		first, second = second, first
	}
	select {
	case p := <-first:
		return p
	default:
	}
	select {
	case p := <-first:
		return p
	case p := <-second:
		return p
	default:
		return nil
	}
}

// crowded reports whether so many retries wait that no new line is taken: memory
// stays bounded when a scanner refuses everything.
func (c *consumer) crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.retries)+len(c.parked) >= maxHeld
}

// due takes the retry that is due, or tells how long until one is.
func (c *consumer) due(now time.Time) (*push, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.retries) == 0 {
		return nil, time.Hour
	}
	// Where so many wait that no new line is taken they are tried at once: good
	// samples are behind them.
	if wait := c.retries[0].due.Sub(now); wait > 0 && len(c.retries)+len(c.parked) < maxHeld {
		return nil, wait
	}
	return heap.Pop(&c.retries).(*push), 0
}

// later puts p among the retries; it holds no worker there.
func (c *consumer) later(p *push, at time.Time) {
	c.mu.Lock()
	p.due, p.held = at, p.reason
	heap.Push(&c.retries, p)
	c.mu.Unlock()
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// pace returns how long p waits before its next try.
func (c *consumer) pace(p *push) time.Duration {
	if p.pace == nil {
		p.pace = backoff.NewExponentialBackOff()
		p.pace.InitialInterval, p.pace.MaxInterval = c.c.BackoffFirst, c.c.BackoffMax
		p.pace.Multiplier = 2
		p.pace.Reset()
	}
	return p.pace.NextBackOff()
}

// retryHeap orders retries by when they are due.
type retryHeap []*push

func (h retryHeap) Len() int           { return len(h) }
func (h retryHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h retryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *retryHeap) Push(x any)        { *h = append(*h, x.(*push)) }
func (h *retryHeap) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return p
}

// keepCursors saves the cursors as they move.
func (c *consumer) keepCursors(ctx context.Context) error {
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		c.watchHeld(time.Now())
		err := c.saveCursors()
		if err != nil && !failing {
			c.log.Error("cursors cannot be saved; pushing goes on, a restart repeats less if you make room or mend the disk", "error", err)
		} else if err == nil && failing {
			c.log.Info("cursors are saved again")
		}
		failing = err != nil
	}
}

// saveCursors writes what moved, the mark last: a mark never tells of less than
// the saved cursors need.
func (c *consumer) saveCursors() error {
	both := []*lane{c.live, c.backlog}
	var at []journal.Pos
	c.mu.Lock()
	m := c.handed
	for _, l := range both {
		at = append(at, l.cursor())
		if k, open := l.oldest(); open && c.led.Before(k, m) {
			m = k
		}
	}
	c.mu.Unlock()
	for i, l := range both {
		pos := at[i]
		if pos == l.saved && !l.lost {
			continue
		}
		// A crash here: the cursor lags, and the ledger's tail tells what is finished.
		if err := journal.SaveCursor(c.cursors, l.file, pos); err != nil {
			return err
		}
		l.saved, l.lost = pos, false
	}
	if m == c.savedMark {
		return nil
	}
	if err := journal.SaveText(c.cursors, c.markFile, m.String()); err != nil {
		return err
	}
	c.savedMark = m
	return nil
}

// savedMarks returns the marks as they are on disk. A crash goes back to those: no
// later one may tell what of the ledger is not needed.
func savedMarks(consumers []*consumer) (all []ledger.Mark) {
	for _, c := range consumers {
		all = append(all, ledger.LoadMark(c.cursors, c.markFile))
	}
	return all
}

func (c *consumer) status() ScannerStatus {
	h := c.health.state()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ScannerStatus{
		Name: c.c.Name, Type: c.c.Type, Up: h.up, Paused: h.paused, Since: h.since, Version: h.version,
		Done: c.counts[sample.Done], Gone: c.counts[sample.Gone], Skipped: c.counts[sample.Skipped], Dead: c.counts[sample.Dead],
		InFlight: c.flying.Load(),
	}
	for _, l := range []*lane{c.live, c.backlog} {
		s.Waiting += max(l.waiting, int64(l.open.Len()))
		if e := l.open.Front(); e != nil {
			if seen := e.Value.(*push).sample.Seen; !seen.IsZero() {
				s.OldestWaiting = max(s.OldestWaiting, time.Since(seen).Seconds())
			}
		}
	}
	s.Journaled = s.Done + s.Gone + s.Skipped + s.Dead + s.Waiting
	return s
}

// waitingIn returns how many samples of a lane have no outcome.
func (c *consumer) waitingIn() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := map[string]int64{}
	for _, l := range []*lane{c.live, c.backlog} {
		n[l.name] = max(l.waiting, int64(l.open.Len()))
	}
	return n
}
