// SPDX-License-Identifier: Apache-2.0

// Package watch turns a tree of directories into a stream of calm paths: each
// regular file below a tree is told soon after its last writer closed it, and
// whatever the system's events may have missed is told as a doubt, a scope that
// has to be swept.
//
// The promise: a file that settles in a tree is sent on Calm, or a Doubt whose
// scope holds it is sent on Doubts. Nothing is dropped in silence.
//
// How it is kept, in invariants:
//
//  1. A directory is watched first and listed second, always. A file made before
//     the watch is in the list, one made after it is an event.
//  2. An event is a hint that a path has to be looked at. What is done depends on
//     what lies there now, so a late, doubled or reordered event does no harm.
//  3. The goroutine that reads events never waits for a disk, a log or a receiver.
//     It puts paths into memory; if a million wait there, the rest is a Doubt.
//  4. Before a directory is watched under a path, every watch below its former
//     path is removed: the system ties a watch to the directory, not to the name.
//  5. After events were lost no watch is trusted. Each one is set again when a
//     Sweep comes past it.
//  6. A file is calm when nobody has it open for writing, where the system can be
//     asked, and when it has been quiet for Settle where it cannot.
//  7. No symbolic link below a tree is followed, and nothing but a regular file is
//     opened.
//
// A path belongs to the deepest tree that holds it. Paths are raw bytes.
//
// The goroutines, all of which Run starts and waits for, and what each owns:
//
//   - The tender of a tree (tend.go) makes and closes the tree's source, looks each
//     second whether the root is still the one that it armed, and logs what others
//     left for it. Its own state has no lock.
//   - The reader of a source, started by the tender, hands events and errors to its
//     tree (tree.go). It takes only locks that nobody holds over a call to the system.
//   - The looker of a tree works off its looks: directories that came, went or were
//     replaced.
//   - The settler (settle.go) has one goroutine that waits for what is due, four that
//     ask, and one that sends on Calm.
//   - One goroutine sends on Doubts (doubts.go).
//
// A sweep runs in its caller's goroutine. So three may want to set or give back
// watches at once: tender, looker and sweep. They take watches.arming in turn.
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

// ErrEngine means that a tree asks for an engine that is not to be had here.
var ErrEngine = errors.New("engine is not to be had here")

// most is how many paths may wait to settle, and how many directories to be
// looked at, before more of them become a Doubt. It bounds memory to a few
// hundred megabytes in the worst hour.
const most = 1_000_000

// Tree is one watched directory and all below it.
type Tree struct {
	Name, Path       string        // Path is absolute and clean
	Include, Exclude []string      // doublestar globs below Path, separated by slashes; no Include means all
	Settle           time.Duration // quiet for this long where the system cannot be asked; above 0
	SettleLimit      time.Duration // a file that never settles is told after this time; above 0
	Engine           string        // auto, fsnotify, windows or sweep; see Engines
}

// Config is what New needs. The hooks may be nil; they are called from several
// goroutines and must not block.
type Config struct {
	Trees   []Tree
	Scratch string                              // a folder of our own, in no tree, for the self-test of an engine; "": a temporary one
	Log     *slog.Logger                        // nil: nothing is logged
	Lost    func(tree int)                      // each time that events were lost
	Skipped func(tree int, path, reason string) // symlink, fifo, socket, device or excluded
	Nap     func(time.Duration)                 // sleeps for less than a millisecond; nil: by the system's clock, finer than the runtime's
}

// Calm is one settled path.
type Calm struct {
	Tree int
	Path string    // absolute, below the tree's Path
	Stat Stat      // the version that was calm
	Via  string    // event, or limit when SettleLimit passed with a writer still at it
	At   time.Time // when it settled
}

// Why a Doubt was raised.
const (
	WhyStart = "start" // the tree is watched for the first time
	WhyLost  = "lost"  // the system or a full memory dropped events
	WhyArmed = "armed" // the tree came back
	WhyLimit = "limit" // directories are not watched; raised each minute while so
	WhyError = "error" // a directory could not be read; raised each minute while so
	WhyAsked = "asked" // an operator wants it
)

// Doubt is a scope that has to be swept.
type Doubt struct {
	Tree  int
	Under string // absolute: the tree's Path or a directory below
	Why   string
}

// TreeState is what a tree looks like now.
type TreeState struct {
	Name, Path, Engine string
	Armed              bool // the tree is there and, unless its engine is sweep, watched
	Directories        int  // watched
	Unwatched          int  // known, but not watched or not readable; swept each minute
	Lost               uint64
	Limit              string // what to do about a limit that was reached; empty if none was
}

// Watcher watches trees. The zero value is of no use, take New.
type Watcher struct {
	log    *slog.Logger
	trees  []*tree
	settle *settler
	doubts *doubts
	config Config

	chosen sync.Once
	best   string // the engine that auto takes, once chosen
}

// New checks c and returns a Watcher at rest. The error is ErrEngine for an
// engine that is not built, else it says what is wrong with which tree.
func New(c Config) (*Watcher, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{log: c.Log, doubts: newDoubts(), config: c}
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
	if t.Engine == "" || t.Engine == "auto" {
		t.Engine = automatic
	}
	if here, _, _ := Engines(); !slices.Contains(here, t.Engine) {
		return fmt.Errorf("%w: %q is for another system, or not built yet; use one of %s", ErrEngine, t.Engine, strings.Join(here, ", "))
	}
	return nil
}

// Run watches until ctx ends and returns nil then, when everything it started
// has stopped. A tree that is missing or cannot be watched is not an error: it is
// waited for. Run is called once.
func (w *Watcher) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { w.settle.run(ctx) })
	all.Go(func() { w.doubts.run(ctx) })
	for _, t := range w.trees {
		all.Go(func() { (&tender{tree: t}).run(ctx) })
		all.Go(func() { t.looks.run(ctx, t.rearm) })
	}
	all.Wait()
	return nil
}

// Calm is where settled paths come out. It is never closed. A receiver that
// falls behind holds up nothing but itself: what waits is kept once for each path.
func (w *Watcher) Calm() <-chan Calm { return w.settle.out }

// Doubts is where scopes to be swept come out. It is never closed. While one
// waits, another for the same scope is merged into it.
func (w *Watcher) Doubts() <-chan Doubt { return w.doubts.out }

// Ask raises a Doubt for a scope, as an operator would. It never blocks.
func (w *Watcher) Ask(tree int, under string) {
	w.doubts.raise(Doubt{Tree: tree, Under: under, Why: WhyAsked})
}

// Again hands a path back to settle, for it changed while it was read. It is
// safe from any goroutine and never blocks. A path outside every tree is ignored.
func (w *Watcher) Again(path string) {
	if t := w.owner(path); t != nil {
		t.take(path, t.w.settle.again)
	}
}

// Settling reports whether path waits to settle, or was settled and is not yet Done.
func (w *Watcher) Settling(path string) bool { return w.settle.has(path) }

// Done tells that the receiver of a Calm has indexed or dropped path. If path
// was touched since, it goes on settling.
func (w *Watcher) Done(path string) { w.settle.done(path) }

// Excluded reports whether the tree's include and exclude leave the file path out.
func (w *Watcher) Excluded(tree int, path string) bool {
	return w.trees[tree].globs.excluded(w.trees[tree].below(path))
}

// State returns the state of each tree, in the order of Config.Trees.
func (w *Watcher) State() []TreeState {
	all := make([]TreeState, len(w.trees))
	for i, t := range w.trees {
		all[i] = t.state()
	}
	return all
}

// root returns the tree whose Path path is.
func (w *Watcher) root(path string) (int, bool) {
	for _, t := range w.trees {
		if len(path) == len(t.Path) && Within(t.Path, path) {
			return t.at, true
		}
	}
	return 0, false
}

// owner returns the deepest tree that holds path, nil if none does.
func (w *Watcher) owner(path string) *tree {
	var best *tree
	for _, t := range w.trees {
		if (best == nil || len(t.Path) > len(best.Path)) && Within(t.Path, path) {
			best = t
		}
	}
	return best
}
