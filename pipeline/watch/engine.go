// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"fmt"

	"github.com/fsnotify/fsnotify"
)

// choose returns the engine that auto takes. The first call chooses it, and logs which
// and why.
func (w *Watcher) choose(ctx context.Context) string {
	w.chosen.Do(func() {
		var why string
		w.best, why = bestEngine(ctx, w.config.Scratch)
		w.log.Info("auto takes an engine", "engine", w.best, "why", why)
	})
	return w.best
}

// open makes the source of the tree, and notes its engine. The source is nil if the
// engine has none.
func (t *tree) open(ctx context.Context, st Stat) (source, error) {
	engine := t.Engine
	if engine == "auto" {
		engine = t.w.choose(ctx)
	}
	if engine == "windows" {
		s, err := newRecursive(t.Path, st.place())
		if err == nil || t.Engine != "auto" || !unsupported(err) {
			t.watches.engages(engine, nil)
			return s, err
		}
		if t.watches.engages("fsnotify", nil) {
			t.w.log.Warn("the tree's file system does not tell of all below a folder, so each folder is watched; if events stay away sweep more often",
				"tree", t.Name, "error", err)
		}
		engine = "fsnotify"
	}
	if engine == "fanotify" {
		s, err := newFanotify(t)
		if err == nil || vanished(err) {
			t.watches.engages(engine, nil)
			return s, err
		}
		if ctx.Err() != nil {
			return nil, errMoved // the ears ended with us
		}
		t.instead(err)
		return newInotify(t.watches)
	}
	t.watches.engages(engine, nil)
	switch engine {
	case "sweep":
		return nil, nil
	case "inotify":
		return newInotify(t.watches)
	}
	f, err := fsnotify.NewBufferedWatcher(buffered)
	if err != nil {
		return nil, fmt.Errorf("watch tree: %w", err)
	}
	return perFolder{f}, nil
}

// instead notes, and says once, that the engine inotify takes the place of fanotify.
func (t *tree) instead(err error) {
	if t.watches.engages("inotify", fmt.Errorf("%w: %s", err, fanotifyNext(err))) {
		t.w.log.Warn("the tree cannot be heard by fanotify, and each of its folders is watched by inotify instead",
			"tree", t.Name, "error", err, "next", fanotifyNext(err))
	}
}
