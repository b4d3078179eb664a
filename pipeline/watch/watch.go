// SPDX-License-Identifier: Apache-2.0

// Package watch turns a tree of directories into a stream of calm paths. It sends each
// regular file below a tree soon after its last writer closed it. If the system's events
// may have missed files, it sends a doubt: a scope that must be swept.
//
// The promise: a file that settles in a tree is sent on Calm, or a Doubt whose scope has
// the file is sent on Doubts. Nothing is dropped in silence.
//
// The invariants that keep it:
//
//  1. A directory is always watched first and listed second. A file that was made before
//     the watch is in the list; a file that was made after it raises an event.
//  2. An event is a hint to look at a path. What is done then depends on what lies there
//     now, so an event that is late, doubled or out of order does no harm.
//  3. The goroutine that reads events never waits for a disk, a log or a receiver. It
//     puts paths into memory. If a million wait there, further ones become a Doubt. (The
//     engine fanotify names a folder by its handle: another goroutine asks for its path.)
//  4. The system ties a watch to the directory, not to the name. Before a directory is
//     watched under a new path, all watches at and below its former path are removed; the
//     engine inotify moves its node in the set of folders instead.
//  5. After events were lost no watch is trusted. The next Sweep of a directory sets its
//     watch again.
//  6. If the system can tell, a file is calm when no program has it open for writing. If
//     it cannot, a file is calm when it has been quiet for Settle.
//  7. No symbolic link below a tree is followed, and only regular files are opened.
//
// A path belongs to the deepest tree that holds it. Paths are raw bytes.
//
// Run starts these goroutines and waits for them:
//
//   - The tender of a tree (tend.go) makes and closes the tree's source. Each second it
//     checks that the root is still the directory that it armed. It logs the warnings that
//     others left for it. Its own state needs no lock.
//   - The reader of a source is started by the tender. It gives events and errors to its
//     tree (tree.go). It takes only locks that are never held during a call to the system.
//     The reader of the engine inotify also moves folders that were renamed (watches.mu),
//     and alone has what it remembers between two events.
//   - The engine fanotify has two goroutines for each file system, for all trees on it
//     (ear_linux.go). The reader only empties the kernel's queue into a bounded one. The
//     worker finds the path of a folder, which may take a disk, and tells the trees.
//   - The looker of a tree works off its looks: directories that came, went or were
//     replaced.
//   - The settler (settle.go) has one goroutine that waits for due candidates, four that
//     ask about them, and one that sends on Calm.
//   - One goroutine sends on Doubts (doubts.go).
//
// A sweep runs in the goroutine of its caller. So three goroutines may want to set or
// remove watches at once: tender, looker and sweep. They take watches.arming in turn.
package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// ErrEngine means that a tree asks for an engine that this system does not have.
var ErrEngine = errors.New("engine is not to be had here")

// most is how many paths may wait to settle, and how many directories may wait for a
// look. Further ones become a Doubt. It bounds memory to a few hundred megabytes.
const most = 1_000_000

// Tree is the configuration of one watched directory and all below it.
type Tree struct {
	Name, Path       string        // Path is absolute and clean
	Include, Exclude []string      // doublestar globs below Path, separated by slashes; no Include means all
	Settle           time.Duration // if the system cannot tell, a file settles after this time of quiet; above 0
	Quiet            time.Duration // a file is left alone for so long after its last event; 0: not at all
	SettleLimit      time.Duration // a file that does not settle is sent after this time; above 0
	Engine           string        // auto, inotify, fanotify, fsnotify, windows or sweep; see Engines
}

// Config is the configuration of a Watcher. The functions may be nil. Several goroutines
// call them; they must not block.
type Config struct {
	Trees   []Tree
	Scratch string                              // our own folder, in no tree, for the self-test of an engine; "": a temporary one
	Ears    *Ears                               // for the engine fanotify; who gives them runs them; nil: the Watcher has its own
	Log     *slog.Logger                        // nil: nothing is logged
	Lost    func(tree int)                      // called each time that events were lost
	Skipped func(tree int, path, reason string) // called for a path that is not sent; reason is its Kind, excluded or path_too_long
	Nap     func(time.Duration)                 // sleeps for less than a millisecond; nil: finer than time.Sleep can
}

// Calm is one settled path.
type Calm struct {
	Tree int       // its index in Config.Trees
	Path string    // absolute, below the tree's Path
	Stat Stat      // the version that was calm
	Via  string    // event, or limit if it had not settled after SettleLimit
	At   time.Time // when it settled
}

// Why a Doubt was raised.
const (
	WhyStart = "start" // the tree is watched for the first time
	WhyLost  = "lost"  // events were dropped, by the system or because too many paths wait
	WhyArmed = "armed" // the tree is watched again, or file systems were mounted in it
	WhyLimit = "limit" // directories are not watched; raised each minute until they are
	WhyError = "error" // a directory could not be read; raised each minute until it can
	WhyAsked = "asked" // somebody called Ask
)

// Doubt is a scope that must be swept.
type Doubt struct {
	Tree  int    // its index in Config.Trees
	Under string // absolute: the tree's Path or a directory below
	Why   string
}

// TreeState is the state of a tree now.
type TreeState struct {
	Name, Path, Engine string
	Armed              bool      // the tree is there and, unless its engine is sweep, watched
	Directories        int       // how many are watched
	Unwatched          int       // how many are not watched or cannot be read; they are swept each minute
	Unread             error     // why the tree's own folder cannot be listed; nil: it can
	TooLong            int       // how many are left out, because their path is too long
	Troubles           []Trouble // the first few that are not watched or cannot be read
	Lost               uint64    // how often events were lost
	Elsewhere          string    // the type of its file system, if what others write there raises no event; "" if all does
	Limit              string    // what to do about a limit that was reached; "" if none was
	Instead            error     // why Engine takes the place of the one that was asked for, and what to do; nil: it does not
}

// Watcher watches trees. Use New to make one.
type Watcher struct {
	log    *slog.Logger
	trees  []*tree
	settle *settler
	doubts *doubts
	media  media
	ears   *Ears
	config Config

	chosen sync.Once
	best   string // the engine that auto takes, once chosen
}

// New checks c and returns a Watcher that does not run yet. The error names the tree and
// what is wrong with it. It is ErrEngine if this system does not have the engine.
func New(c Config) (*Watcher, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{log: c.Log, doubts: newDoubts(), media: media{madeUp: map[uint64]bool{}}, ears: c.Ears, config: c}
	if w.ears == nil {
		w.ears = NewEars(nil)
	}
	w.settle = newSettler(w)
	for i, t := range c.Trees {
		if err := check(&t); err != nil {
			return nil, fmt.Errorf("watch tree %q: %w", t.Path, err)
		}
		if _, twice := w.root(t.Path); twice {
			return nil, fmt.Errorf("watch tree %q: it is there twice; remove one of the two", t.Path)
		}
		w.trees = append(w.trees, newTree(w, i, t))
	}
	return w, nil
}

// check replaces auto by an engine, or says what is wrong with t.
func check(t *Tree) error {
	if !filepath.IsAbs(t.Path) || filepath.Clean(t.Path) != t.Path {
		return errors.New("path is not absolute and clean; write it from the root, without dots as elements")
	}
	for _, g := range append(append([]string{}, t.Include...), t.Exclude...) {
		if !doublestar.ValidatePattern(g) {
			return fmt.Errorf("glob %q is malformed; see include and exclude in certpush.toml(5)", g)
		}
	}
	if t.Settle <= 0 || t.SettleLimit <= 0 {
		return errors.New("settle and settle_limit must be above 0")
	}
	if t.Quiet < 0 {
		return errors.New("quiet must not be below 0")
	}
	t.Settle = max(t.Settle, t.Quiet) // where the system cannot tell, the longer one counts
	if t.Engine == "" || t.Engine == "auto" {
		t.Engine = automatic
	}
	if here, _ := Engines(); !slices.Contains(here, t.Engine) {
		return fmt.Errorf("%w: %q is unknown, or for another system; use one of %s", ErrEngine, t.Engine, strings.Join(here, ", "))
	}
	return nil
}

// Run watches until ctx ends. It returns nil when all its goroutines have ended. A tree
// that is missing or cannot be watched is not an error: Run waits for it. Call Run once.
func (w *Watcher) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { w.settle.run(ctx) })
	all.Go(func() { w.doubts.run(ctx) })
	if w.config.Ears == nil {
		all.Go(func() { w.ears.Run(ctx) })
	}
	for _, t := range w.trees {
		all.Go(func() { (&tender{tree: t}).run(ctx) })
		all.Go(func() { t.looks.run(ctx, t.rearm) })
	}
	all.Wait()
	return nil
}

// Calm returns the channel of settled paths. It is never closed. If the receiver is slow,
// each path waits once, in its newest version, and nothing else is held up. The receiver
// must call Done or Again for each path.
func (w *Watcher) Calm() <-chan Calm { return w.settle.out }

// Doubts returns the channel of scopes that must be swept. It is never closed. While a
// doubt waits, another one for the same scope is dropped.
func (w *Watcher) Doubts() <-chan Doubt { return w.doubts.out }

// Ask raises a Doubt for a scope. It never blocks.
func (w *Watcher) Ask(tree int, under string) {
	w.doubts.raise(Doubt{Tree: tree, Under: under, Why: WhyAsked})
}

// Again sends a path back to settle, because it changed while it was read. Any goroutine
// may call it. It never blocks. A path outside every tree is ignored.
func (w *Watcher) Again(path string) {
	if t := w.owner(path); t != nil {
		t.take(path, t.w.settle.again)
	}
}

// Rest sends a path back to settle for at least d, or less if it has an event meanwhile.
// It does not wait.
func (w *Watcher) Rest(path string, d time.Duration) {
	w.settle.rest(path, d)
}

// Settling reports whether path waits to settle, or has settled and is not Done yet.
func (w *Watcher) Settling(path string) bool { return w.settle.has(path) }

// Unsettled returns how many paths of a tree wait to settle, or have settled and are not
// Done yet.
func (w *Watcher) Unsettled(tree int) int { return w.settle.count(w.trees[tree]) }

// Done says that the receiver of a Calm has indexed or dropped path. If an event came for
// path since, it still settles again.
func (w *Watcher) Done(path string) { w.settle.done(path) }

// Excluded reports whether the include and exclude of a tree leave out the file path.
func (w *Watcher) Excluded(tree int, path string) bool {
	return w.trees[tree].globs.excluded(w.trees[tree].below(path))
}

// Below returns the tree that holds path: its root, and the path below that. ok is false
// if none does.
func (w *Watcher) Below(path string) (root, rel string, ok bool) {
	t := w.owner(path)
	if t == nil {
		return "", "", false
	}
	return t.Path, t.below(path), true
}

// State returns the state of each tree, in the order of Config.Trees.
func (w *Watcher) State() []TreeState {
	all := make([]TreeState, len(w.trees))
	for i, t := range w.trees {
		all[i] = t.state()
	}
	return all
}

// root returns the index of the tree whose Path is path. It returns false if there is
// none.
func (w *Watcher) root(path string) (int, bool) {
	for _, t := range w.trees {
		if len(path) == len(t.Path) && Within(t.Path, path) {
			return t.at, true
		}
	}
	return 0, false
}

// owner returns the deepest tree that holds path, or nil if none does.
func (w *Watcher) owner(path string) *tree {
	var best *tree
	for _, t := range w.trees {
		if (best == nil || len(t.Path) > len(best.Path)) && Within(t.Path, path) {
			best = t
		}
	}
	return best
}
