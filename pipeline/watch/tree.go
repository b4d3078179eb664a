// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// buffered is how many events wait between the kernel's queue and our memory.
	buffered = 4096
	// every is how often a tree's own path is looked at.
	every = time.Second
	// retry is how often a scope that is not watched is to be swept.
	retry = time.Minute
)

// tree is a Tree at work.
type tree struct {
	Tree
	at    int
	w     *Watcher
	globs globs
	check chan struct{} // wakes tend before its time
	hurry chan struct{} // wakes look

	unsure int       // tend's: how often to look for lost watches yet
	brief  int       // tend's: how many sources in a row went deaf soon
	pause  time.Time // tend's: no new one is made before

	arming sync.Mutex // held while watches change; never taken by the reader

	// mu guards what follows. It is never held over a call to the system.
	mu      sync.Mutex
	source  source // nil while the tree is not watched
	engine  string // what source is; with auto not known before
	place   place  // of the root when it was armed
	armed   bool
	broken  bool      // the root was moved or removed since
	deafAt  time.Time // when source went deaf; zero while it hears
	since   time.Time // when source was made
	ever    bool      // armed at least once
	set     *folders
	age     uint64 // grows when events were lost
	lost    uint64
	full    error // why no source could be made
	jobs    map[string]time.Duration
	order   []string
	looking bool // a job is taken out and not done

	notes []func() // warnings that the reader leaves for tend to log

	saidMissing, saidUnwatched, saidLost, saidFull, saidCrowded bool
}

func newTree(w *Watcher, at int, t Tree) *tree {
	return &tree{
		Tree: t, at: at, w: w, engine: t.Engine, globs: newGlobs(t), set: newFolders(t.Path),
		check: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		jobs: map[string]time.Duration{},
	}
}

// below returns path relative to the tree; "." for the tree itself.
func (t *tree) below(path string) string {
	switch {
	case len(path) <= len(t.Path):
		return "."
	case filepath.Dir(t.Path) == t.Path: // a root, which ends in its separator
		return path[len(t.Path):]
	}
	return path[len(t.Path)+1:]
}

// touch makes path a candidate; if too many wait, a sweep will find it.
func (t *tree) touch(path string) { t.take(path, t.w.settle.touch) }

func (t *tree) take(path string, settle func(*tree, string) bool) {
	if settle(t, path) {
		return
	}
	t.missed()
	if t.begins(&t.saidCrowded) {
		t.leave(func() {
			t.w.log.Warn("too many files wait to settle, the tree will be swept; look what holds them open", "tree", t.Name, "waiting", most)
		})
	}
}

// missed notes that events were lost, and asks for a sweep.
func (t *tree) missed() {
	t.mu.Lock()
	t.lost++
	t.mu.Unlock()
	if t.w.config.Lost != nil {
		t.w.config.Lost(t.at)
	}
	t.doubt(t.Path, WhyLost)
}

func (t *tree) doubt(under, why string) {
	t.w.doubts.raise(Doubt{Tree: t.at, Under: under, Why: why})
}

// begins sets a flag and reports whether it was not set before.
func (t *tree) begins(said *bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := *said
	*said = true
	return !was
}

// ends clears a flag and reports whether it was set before.
func (t *tree) ends(said *bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := *said
	*said = false
	return was
}

// leave has a warning logged by another goroutine: the reader's must not wait.
func (t *tree) leave(warn func()) {
	t.mu.Lock()
	t.notes = append(t.notes, warn)
	t.mu.Unlock()
	nudge(t.check)
}

// speak logs what was left.
func (t *tree) speak() {
	t.mu.Lock()
	notes := t.notes
	t.notes = nil
	t.mu.Unlock()
	for _, warn := range notes {
		warn()
	}
}

// tend keeps the tree armed until ctx ends.
func (t *tree) tend(ctx context.Context) {
	var readers sync.WaitGroup
	defer readers.Wait()
	defer t.disarm()
	tick := time.NewTicker(every)
	defer tick.Stop()
	swept := time.Now()
	m := openMounts()
	defer m.close()
	for {
		t.speak()
		t.remounted(m)
		t.inspect(ctx, &readers)
		if time.Since(swept) >= retry {
			swept = time.Now()
			t.doubtUnwatched()
		}
		select {
		case <-tick.C:
		case <-t.check:
		case <-ctx.Done():
			return
		}
	}
}

// inspect arms, disarms or re-arms the tree, whatever its path asks for.
func (t *tree) inspect(ctx context.Context, readers *sync.WaitGroup) {
	st, err := follow(t.Path)
	if err == nil && !st.Mode.IsDir() {
		err = errors.New("it is not a directory")
	}
	t.mu.Lock()
	armed, stale := t.armed, t.broken || t.place != st.place()
	deafAt, since := t.deafAt, t.since
	t.mu.Unlock()
	if armed && (err != nil || stale) {
		t.disarm()
		armed = false
		t.rest(deafAt, since)
	}
	if err != nil {
		if t.begins(&t.saidMissing) {
			t.w.log.Warn("tree is missing, waiting for it; create or mount it",
				"tree", t.Name, "path", t.Path, "error", err)
		}
		return
	}
	if t.ends(&t.saidMissing) {
		t.w.log.Info("tree is there", "tree", t.Name, "path", t.Path)
	}
	if !armed && !time.Now().Before(t.pause) {
		t.arm(ctx, st, readers)
	}
}

// rest puts off the next source after one that went deaf soon, but for the first
// in a row: each costs a sweep of the whole tree.
func (t *tree) rest(deafAt, since time.Time) {
	if deafAt.IsZero() || deafAt.Sub(since) > retry {
		t.brief, t.pause = 0, time.Time{}
		return
	}
	t.pause = time.Now()
	if t.brief > 0 {
		t.pause = t.pause.Add(min(every<<min(t.brief, 10), retry))
	}
	t.brief++
}

// arm watches the root and asks for a sweep, which sets the other watches.
func (t *tree) arm(ctx context.Context, st Stat, readers *sync.WaitGroup) {
	source, err := t.open(ctx, st)
	if vanished(err) || errors.Is(err, errMoved) {
		return // between the look and the open; the next look tells
	}
	if err != nil {
		t.unarmed(err)
		return
	}
	t.mu.Lock()
	t.source, t.place, t.armed, t.broken, t.full = source, st.place(), true, false, nil
	t.since, t.deafAt = time.Now(), time.Time{}
	t.set = newFolders(t.Path)
	why := WhyArmed
	if !t.ever {
		why = WhyStart
	}
	t.ever = true
	t.mu.Unlock()
	if t.ends(&t.saidFull) {
		t.w.log.Info("tree can be watched again", "tree", t.Name)
	}
	if source != nil {
		readers.Go(func() {
			source.pump(func(e fsnotify.Event) { t.event(source, e) }, func(err error) { t.trouble(source, err) })
		})
		t.ensure(t.Path, st.place())
	}
	if ctx.Err() == nil {
		t.doubt(t.Path, why)
	}
}

// unarmed notes that the system gives no further source.
func (t *tree) unarmed(err error) {
	t.mu.Lock()
	t.full = err
	first := !t.ever
	t.ever = true
	t.mu.Unlock()
	if t.begins(&t.saidFull) {
		next := "see the error"
		if instanceLimit(err) {
			next = moreInstances()
		}
		t.w.log.Error("tree cannot be watched, it is swept each minute", "tree", t.Name, "error", err, "next", next)
	}
	if first {
		t.doubt(t.Path, WhyStart)
	}
}

// disarm gives all watches back.
func (t *tree) disarm() {
	t.arming.Lock()
	defer t.arming.Unlock()
	t.mu.Lock()
	source := t.source
	t.source, t.armed, t.set = nil, false, newFolders(t.Path)
	t.mu.Unlock()
	if source == nil {
		return
	}
	if err := source.Close(); err != nil {
		t.w.log.Warn("giving watches back failed; restart the service if it happens again", "tree", t.Name, "error", err)
	}
}

// doubtUnwatched asks for a sweep of what no event will come from.
func (t *tree) doubtUnwatched() {
	t.mu.Lock()
	unwatched, full := t.set.unwatched, t.full
	limit := full != nil || t.limited() != nil
	t.mu.Unlock()
	switch {
	case limit:
		t.doubt(t.Path, WhyLimit)
	case unwatched > 0:
		t.doubt(t.Path, WhyError)
	}
}

// limited returns the error of a watch limit that was reached. The caller holds mu.
func (t *tree) limited() error {
	if t.set.unwatched == 0 {
		return nil
	}
	return t.set.limit
}

// event notes a hint.
func (t *tree) event(source source, e fsnotify.Event) {
	if t.elsewhere(e.Name) {
		return
	}
	moved := e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)
	t.mu.Lock()
	if t.source != source {
		t.mu.Unlock()
		return
	}
	if e.Name == t.Path {
		t.broken = t.broken || moved
		t.mu.Unlock()
		if moved {
			nudge(t.check)
		}
		return
	}
	known := t.set.get(e.Name)
	retry := known != nil && known.failed != nil
	t.mu.Unlock()
	switch {
	case known != nil:
		if moved || e.Has(fsnotify.Create) || retry && e.Has(fsnotify.Chmod) {
			t.examine(e.Name, t.w.settle.now())
		}
	case moved && !t.w.settle.has(e.Name):
	default:
		t.touch(e.Name)
	}
}

// elsewhere reports whether path lies below another tree in this one, or below a folder
// that is excluded with all in it: an engine that tells of all below the tree tells
// of these, too.
func (t *tree) elsewhere(path string) bool {
	for _, other := range t.w.trees {
		if len(other.Path) > len(t.Path) && len(path) > len(other.Path) && within(path, other.Path) {
			return true
		}
	}
	if len(t.Exclude) == 0 || len(path) <= len(t.Path) {
		return false
	}
	for rel := filepath.Dir(t.below(path)); rel != "."; rel = filepath.Dir(rel) {
		if t.globs.barren(rel) {
			return true
		}
	}
	return false
}

// trouble notes an error of the source. After any of them no watch is trusted.
func (t *tree) trouble(source source, err error) {
	t.mu.Lock()
	current := t.source == source
	if current {
		t.age++
		if errors.Is(err, errDeaf) {
			t.broken, t.deafAt = true, time.Now()
		}
	}
	t.mu.Unlock()
	if !current {
		return
	}
	nudge(t.check)
	if errors.Is(err, fsnotify.ErrEventOverflow) || errors.Is(err, errMalformed) {
		t.missed()
	} else {
		t.doubt(t.Path, WhyError)
	}
	if t.begins(&t.saidLost) {
		t.leave(func() {
			if errors.Is(err, errDeaf) {
				t.w.log.Warn("events of the tree have ended; it is watched anew and swept; if that goes on see to its disk or server", "tree", t.Name, "error", err)
				return
			}
			t.w.log.Warn("events were lost, the tree will be swept; on Linux a larger fs.inotify.max_queued_events makes it rarer", "tree", t.Name, "error", err)
		})
	}
}

func (t *tree) state() TreeState {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := TreeState{Name: t.Name, Path: t.Path, Engine: t.engine, Armed: t.armed,
		Directories: t.set.watched, Unwatched: t.set.unwatched, Lost: t.lost}
	switch {
	case t.full != nil && instanceLimit(t.full):
		s.Limit = moreInstances()
	case t.full != nil:
		s.Limit = t.full.Error()
	case t.limited() != nil:
		s.Limit = moreWatches(s.Directories + s.Unwatched)
	}
	return s
}
