// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// plan says when each tree is swept next. Only the goroutine that sweeps has it.
type plan struct {
	due     []time.Time // the whole tree
	again   []time.Time // the whole tree, for a sweep that did not reach everything; zero: it did
	changed []time.Time // its folders that changed; zero: never
}

func newPlan(trees []config.Tree) *plan {
	n := len(trees)
	l := &plan{make([]time.Time, n), make([]time.Time, n), make([]time.Time, n)}
	for i, t := range trees {
		if t.Sweep > 0 {
			l.due[i] = time.Now().Add(t.Sweep)
		}
	}
	return l
}

// next returns which tree is swept next, in how long, and whether only what changed in it
// is. Without any it waits for ever.
func (l *plan) next() (tree int, wait time.Duration, changed bool) {
	tree, wait = -1, 1<<62
	for _, times := range []struct {
		at      []time.Time
		changed bool
	}{{l.due, false}, {l.again, false}, {l.changed, true}} {
		for i, at := range times.at {
			if d := time.Until(at); !at.IsZero() && d < wait {
				tree, wait, changed = i, d, times.changed
			}
		}
	}
	return tree, wait, changed
}

// sweeps sweeps the scope of each doubt, and each tree when its time has come, until
// ctx ends. It does one sweep at a time.
func (p *Producer) sweeps(ctx context.Context) error {
	plan := newPlan(p.c.Trees)
	for {
		next, wait, changed := plan.next()
		t := time.NewTimer(wait)
		d := watch.Doubt{Tree: next, Why: "time"}
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case d = <-p.watcher.Doubts():
			t.Stop()
			changed = false
		case <-t.C:
			d.Under = p.c.Trees[next].Path
		}
		if !p.gate.wait(ctx) {
			return nil
		}
		begun, tree := time.Now(), p.c.Trees[d.Tree]
		whole := true
		if changed {
			sweepChanged(ctx, p, d.Tree)
		} else {
			whole = p.sweep(ctx, d)
		}
		took, elsewhere := time.Since(begun), p.watcher.State()[d.Tree].Elsewhere != ""
		switch pause := pauseAfter(tree, elsewhere, took); {
		case changed:
			plan.changed[d.Tree] = time.Now().Add(pause)
		case !whole:
			plan.again[d.Tree] = time.Now().Add(time.Minute)
		case d.Under == tree.Path:
			plan.again[d.Tree], plan.changed[d.Tree] = time.Time{}, time.Time{}
			if tree.Sweep > 0 {
				plan.due[d.Tree] = time.Now().Add(pause)
			}
			if tree.Adapts && elsewhere && pause > leastPause {
				plan.changed[d.Tree] = time.Now().Add(leastPause)
			}
		}
	}
}

const (
	leastPause = 10 * time.Second // between two sweeps of a tree that others write
	restShare  = 9                // and so many times as long as the last one took
)

// pauseAfter returns how long a tree is left alone after a sweep that took so long. Where
// others write without an event here, only a sweep finds what they wrote: then sweeps come
// as often as a tenth of the time allows. A sweep that the operator set is obeyed.
func pauseAfter(t config.Tree, elsewhere bool, took time.Duration) time.Duration {
	if !t.Adapts || !elsewhere {
		return t.Sweep
	}
	return min(max(restShare*took, leastPause), t.Sweep)
}

// batchWaits is how long what a sweep found waits for more. A sweep of a large tree that is
// known takes seconds, and may find one file.
const batchWaits = 50 * time.Millisecond

// excluded is the reason for a file that include or exclude leaves out.
const excluded = "excluded"

// sweep is one walk of a tree or of a part of it.
type sweep struct {
	p        *Producer
	d        watch.Doubt
	batch    []found                // to be journaled; their paths are claimed
	seen     []uint64               // name hashes of the folder at hand
	progress *progress              // nil: it sweeps a part of a tree
	folders  *folders               // notes what it lists
	devs     map[uint64]bool        // the file systems that it came to; nil: it sweeps a part of a tree
	marks    map[string]journal.Pos // the ends of the lanes before the folder was listed
	files    int                    // how many it saw
	fresh    int                    // how many it journaled
	excluded int                    // how many include and exclude left out
	forget   bool                   // the tree is on the device that the index noted, or it noted none yet
	sound    bool                   // the index could be read
	ok       bool                   // all batches were journaled
}

// sweep walks the scope of d. It journals, in the backlog lane, the files that the
// index does not know in this version. It returns false if it did not reach everything:
// then the scope is still in doubt.
func (p *Producer) sweep(ctx context.Context, d watch.Doubt) bool {
	begun := time.Now()
	tree := p.c.Trees[d.Tree]
	p.damages.drop(ctx)
	s := &sweep{p: p, d: d, folders: p.folders[d.Tree], sound: true, ok: true, marks: ends(p.lanes)}
	if d.Under == tree.Path {
		s.folders.begin(tree.Adapts && p.watcher.State()[d.Tree].Elsewhere != "")
		p.watcher.Mounted()
		s.devs, s.progress = map[uint64]bool{}, &progress{since: begun, of: p.index.Folders(tree.Path)}
		s.tells(s.progress)
		defer s.tells(nil)
	}
	dev := device(tree.Path)
	noted, _ := p.index.Device(tree.Path)
	s.forget = onNotedDevice(p.index, tree.Path)
	err := p.watcher.Sweep(ctx, d.Tree, d.Under, func(f watch.Folder) error { return s.folder(ctx, f) })
	s.flush(ctx)
	if d.Under == tree.Path {
		s.folders.end(err == nil && s.ok)
	}
	if ctx.Err() != nil || !s.ok {
		return false
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.log.Warn("sweep did not reach everything; it is tried again within the minute", "tree", tree.Name, "error", err)
	}
	if err == nil && s.forget && s.sound && d.Under == tree.Path {
		if err := p.index.ForgetFolders(ctx, tree.Path, isGone); err != nil {
			p.log.Error("index cannot forget folders that are gone; it is tried again at the next sweep", "error", err)
		}
	}
	if dev != "" && s.files > 0 && noted != dev {
		if err := p.index.SetDevice(ctx, tree.Path, dev); err != nil {
			p.log.Error("index cannot be written; it is tried again at the next sweep", "error", err)
		}
	}
	if d.Under == tree.Path && err == nil {
		p.mu.Lock()
		last := &p.swept[d.Tree]
		last.at, last.took, last.excluded = time.Now(), time.Since(begun), s.excluded
		p.mu.Unlock()
		if err := p.index.SetFolders(ctx, tree.Path, s.progress.folders.Load()); err != nil {
			p.log.Error("index cannot be written; it is tried again at the next sweep", "error", err)
		}
	}
	level := slog.LevelDebug
	if s.fresh > 0 || d.Why == watch.WhyStart || d.Why == watch.WhyLost {
		level = slog.LevelInfo
	}
	if s.fresh > 0 && d.Why == "time" && tree.Engine != "sweep" && p.watcher.State()[d.Tree].Elsewhere == "" {
		level = slog.LevelWarn
	}
	p.log.Log(ctx, level, "swept", "tree", tree.Name, "under", d.Under, "why", d.Why, "files", s.files, "journaled", s.fresh, "took", time.Since(begun).Round(time.Millisecond).String())
	return err == nil || errors.Is(err, fs.ErrNotExist) // a tree that is not there raises a doubt when it comes back
}

// onNotedDevice reports whether a tree lies on the device that the index noted, or it noted
// none yet. Otherwise what is not there may only be hidden, and is not forgotten.
func onNotedDevice(x *index.Index, tree string) bool {
	dev := device(tree)
	noted, known := x.Device(tree)
	return dev != "" && (!known || noted == dev)
}

// device returns the number of the device of a tree's root in hex, or "" if the tree is
// not there. The tree's own path may be a link: it follows that.
func device(tree string) string {
	path, err := filepath.EvalSymlinks(tree)
	if err != nil {
		return ""
	}
	st, err := watch.Lstat(path)
	if err != nil || !st.Mode.IsDir() {
		return ""
	}
	return strconv.FormatUint(st.Dev, 16)
}

// isGone reports whether a path is surely not a folder now. So a folder that cannot be
// read, or lies below one, is not gone. Of a path that is too long for the system it asks
// the folders above.
func isGone(folder string) bool {
	st, err := os.Lstat(folder)
	for errors.Is(err, syscall.ENAMETOOLONG) && folder != filepath.Dir(folder) {
		folder = filepath.Dir(folder)
		st, err = os.Lstat(folder)
	}
	return errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir()
}

// ends returns the place in each lane before which all lines are durable.
func ends(lanes *journal.Lanes) map[string]journal.Pos {
	m := map[string]journal.Pos{}
	for _, lane := range sample.Lanes {
		m[lane] = lanes.Lane(lane).Durable()
	}
	return m
}

// folder takes one chunk of a folder's files. After the last chunk it forgets the files
// of the folder that are gone.
func (s *sweep) folder(ctx context.Context, f watch.Folder) error {
	p := s.p
	files := f.Entries[:0]
	for _, e := range f.Entries {
		reason := e.Stat.Kind()
		if reason == "" && p.watcher.Excluded(s.d.Tree, filepath.Join(f.Path, e.Name)) {
			reason = excluded
		}
		if reason == excluded {
			s.excluded++
		}
		if reason == "" {
			files = append(files, e)
		} else if s.d.Why == watch.WhyStart { // counted once, not at each sweep
			p.m.skipped.WithLabelValues(p.c.Trees[s.d.Tree].Name, reason).Inc()
		}
	}
	s.files += len(files)
	var err error
	if s.devs != nil && f.Err == nil && !s.devs[f.Dev] {
		s.devs[f.Dev] = true
		if err := p.media.met(ctx, s.d.Tree, f.Path); err != nil {
			p.log.Error("index cannot be written; it is tried again at the next sweep", "error", err)
		}
	}
	s.seen, err = p.index.Visit(f.Path, files, s.seen, p.watcher.Same(filepath.Join(f.Path, "."), f.Dev), func(e watch.Entry) { s.candidate(ctx, f, e) })
	if err != nil {
		s.sound = false
		p.log.Error("index cannot be read; the folder is swept again", "folder", f.Path, "error", err)
	}
	s.flushOld(ctx)
	if !f.Last {
		return ctx.Err()
	}
	if s.progress != nil {
		s.progress.folders.Add(1)
	}
	if f.Err == nil {
		s.folders.note(f)
	}
	if f.Err == nil && s.forget && err == nil {
		if _, err := p.index.Forget(ctx, f.Path, s.seen, s.marks); err != nil {
			p.log.Error("index cannot forget files that are gone; it is tried again at the next sweep", "error", err)
		}
	}
	s.seen, s.marks = s.seen[:0], ends(p.lanes)
	return ctx.Err()
}

// candidate takes a file that the index does not know in this version.
func (s *sweep) candidate(ctx context.Context, f watch.Folder, e watch.Entry) {
	if !s.p.sized(s.d.Tree, e.Stat, s.d.Why == watch.WhyStart) { // counted once, not at each sweep
		return
	}
	path := filepath.Join(f.Path, e.Name)
	s.take(ctx, s.d.Tree, path, sample.ViaSweep, func() bool { return s.p.known(path, e.Stat) },
		func() (watch.Stat, bool) { return f.Settled(e) })
}

// take adds a file to the batch unless it is settling, or known then reports that there
// is no need, or it has not settled. It claims the path first: so either it sees that the
// path is settling, or takeIn sees the claim.
func (s *sweep) take(ctx context.Context, tree int, path, via string, known func() bool, settled func() (watch.Stat, bool)) {
	p := s.p
	p.claims.take(path)
	if p.watcher.Settling(path) || known() {
		p.claims.drop(path)
		return
	}
	now, calm := settled()
	if !calm {
		p.claims.drop(path)
		p.watcher.Again(path) // a writer has it, or it is gone: it settles again
		return
	}
	s.batch = append(s.batch, found{tree, path, now, via, time.Now()})
	s.flushOld(ctx)
}

// flushOld journals the batch if it is full, or has waited long enough.
func (s *sweep) flushOld(ctx context.Context) {
	if n := len(s.batch); n >= takeAtOnce || n > 0 && time.Since(s.batch[0].at) > batchWaits {
		s.flush(ctx)
	}
}

// flush journals the batch, waiting for room if it must, and gives up its claims.
func (s *sweep) flush(ctx context.Context) {
	if len(s.batch) == 0 {
		return
	}
	s.ok = s.p.gate.wait(ctx) && s.p.write(ctx, journal.Backlog, s.batch) && s.ok
	if s.ok {
		s.fresh += len(s.batch)
	}
	s.drop()
}

// drop gives up the claims of the batch, journaled or not, and empties it.
func (s *sweep) drop() {
	for _, f := range s.batch {
		s.p.claims.drop(f.path)
	}
	s.batch = s.batch[:0]
}
