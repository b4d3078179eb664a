// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// every is how often the tender looks at the path of its tree.
	every = time.Second
	// retry is how often a doubt is raised for a scope that is not watched.
	retry = time.Minute
)

// tender keeps one tree armed. Only its goroutine has it, so its own fields need no lock.
type tender struct {
	*tree
	readers sync.WaitGroup // one goroutine for each source
	mounts  *mounts
	unsure  int       // how many more times to look for lost watches
	brief   int       // how many sources in a row went deaf soon
	pause   time.Time // no new source is made before this time
}

// run keeps the tree armed until ctx ends.
func (t *tender) run(ctx context.Context) {
	defer t.readers.Wait()
	defer t.disarm()
	tick := time.NewTicker(every)
	defer tick.Stop()
	swept := time.Now()
	t.mounts = openMounts()
	defer t.mounts.close()
	for {
		t.said.speak()
		t.remounted()
		t.inspect(ctx)
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

// inspect looks at the path of the tree. It disarms the tree if the path is gone, leads to
// another directory, or the source failed. It arms the tree if it is there and not armed.
func (t *tender) inspect(ctx context.Context) {
	st, err := follow(t.Path)
	if err == nil && !st.Mode.IsDir() {
		err = errors.New("it is not a directory")
	}
	was := t.watches.standing()
	if was.armed && (err != nil || was.broken || was.place != st.place() || was.whole != nil && was.whole.strayed()) {
		t.disarm()
		was.armed = false
		t.rest(was.deafAt, was.since)
	}
	if err != nil {
		if t.said.begins(&t.said.missing) {
			t.w.log.Warn("tree is missing, waiting for it; create or mount it",
				"tree", t.Name, "path", t.Path, "error", err)
		}
		return
	}
	if t.said.ends(&t.said.missing) {
		t.w.log.Info("tree is there", "tree", t.Name, "path", t.Path)
	}
	if !was.armed && !time.Now().Before(t.pause) {
		t.arm(ctx, st)
	}
}

// rest puts off the next source if the last one went deaf soon, because each costs a sweep
// of the whole tree: not after the first such source in a row, and then for 2 s, 4 s and
// so on, up to retry.
func (t *tender) rest(deafAt, since time.Time) {
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

// arm makes a source, watches the root, and raises a doubt: its sweep sets the other
// watches.
func (t *tender) arm(ctx context.Context, st Stat) {
	source, err := t.open(ctx, st)
	if vanished(err) || errors.Is(err, errMoved) {
		return // the root changed since we looked: the next inspect sees it
	}
	if err != nil {
		t.unarmed(err)
		return
	}
	why := WhyArmed
	if t.watches.take(source, st.place()) {
		why = WhyStart
	}
	if t.said.ends(&t.said.full) {
		t.w.log.Info("tree can be watched again", "tree", t.Name)
	}
	t.elsewhereWritten()
	if source != nil {
		t.readers.Go(func() {
			source.pump(func(e fsnotify.Event) { t.event(source, e) }, func(err error) { t.trouble(source, err) })
		})
		t.watches.ensure(t.Path, st.place(), nil)
	}
	if ctx.Err() == nil {
		t.doubt(t.Path, why)
	}
}

// elsewhereWritten says once that no event tells what others write on the far side of the
// tree's file system.
func (t *tender) elsewhereWritten() {
	m, err := MediumOf(t.Path)
	if err != nil {
		return
	}
	kind := ""
	if m.Elsewhere {
		kind = m.Kind
	}
	t.watches.liesOn(kind)
	if m.Elsewhere && t.said.begins(&t.said.elsewhere) {
		t.w.log.Warn("what is written on the far side of the tree's file system raises no event, and is found by a sweep: one begins ten seconds after the last, or nine times as long as that took, unless sweep is set for this tree", "tree", t.Name, "path", t.Path, "kind", m.Kind)
	}
}

// unarmed notes and logs that the system gives no source.
func (t *tender) unarmed(err error) {
	first := t.watches.refused(err)
	if t.said.begins(&t.said.full) {
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

func (t *tender) disarm() {
	if err := t.watches.disarm(); err != nil {
		t.w.log.Warn("giving watches back failed; restart the service if it happens again", "tree", t.Name, "error", err)
	}
}
