// SPDX-License-Identifier: Apache-2.0

package look

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/producer"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// known is what is known of the files in the trees: by a pipeline that runs, or by what
// one left.
type known interface {
	// known returns what is known of path in this version.
	known(path string, st watch.Stat) (e index.Entry, ok bool)
	// by reports whether path is known by the line at a place, or may be.
	by(path string, at sample.At) bool
	// noted returns up to where the lanes are known. A later line may be, too.
	noted() map[string]journal.Pos
	// excluded reports whether the configuration leaves path out.
	excluded(tree int, path string) bool
	// settling reports whether somebody writes path, or may have written it.
	settling(path string) bool
	// moving reports whether a file that is not known may be known soon.
	moving() bool
	// requeue journals files again, but for those that known says to be known by then.
	requeue(ctx context.Context, files []producer.File, known func(path string) bool) (int, error)
}

// running is the knowledge of a producer that runs.
type running struct{ p *producer.Producer }

func (r running) known(path string, st watch.Stat) (index.Entry, bool) {
	e, ok, err := r.p.Index().Get(path)
	return e, ok && err == nil && e.Stat.Same(st)
}

func (r running) by(path string, at sample.At) bool {
	e, ok, err := r.p.Index().Get(path)
	return err != nil || ok && e.At == at
}

func (r running) noted() map[string]journal.Pos       { return r.p.Index().Noted() }
func (r running) excluded(tree int, path string) bool { return r.p.Watcher().Excluded(tree, path) }
func (r running) settling(path string) bool           { return r.p.Watcher().Settling(path) }
func (r running) moving() bool                        { return true }

func (r running) requeue(ctx context.Context, files []producer.File, known func(string) bool) (int, error) {
	return r.p.Requeue(ctx, files, known)
}

// atRest is the knowledge that a pipeline left: its index, and the lines that are in
// the journal and not in the index yet. Nothing is written, not even to the index: its
// files are to stay its own user's.
type atRest struct {
	watcher *watch.Watcher
	index   *index.Index
	tail    map[string]index.Entry
}

func newAtRest(ctx context.Context, a *Archive) (_ *atRest, err error) {
	r := &atRest{tail: map[string]index.Entry{}}
	if r.watcher, err = watch.New(watch.Config{Log: a.c.Log, Scratch: a.c.State, Trees: producer.WatchTrees(a.c.Trees)}); err != nil {
		return nil, err
	}
	if r.index, err = index.OpenToRead(ctx, a.c.Disk, filepath.Join(a.c.State, "index")); err != nil {
		return nil, err
	}
	for lane, mark := range r.index.Marks() {
		if err := r.readTail(ctx, a.journal, lane, mark); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return r, nil
}

// readTail reads the lines of a lane from the index's mark on.
func (r *atRest) readTail(ctx context.Context, dir journal.Folder, lane string, mark journal.Pos) error {
	all, err := journal.Survey(dir, journal.Base(lane))
	if err != nil {
		return fmt.Errorf("list journal: %w", err)
	}
	for _, s := range all {
		if s.Number < mark.Segment {
			continue
		}
		if err := journal.Find(ctx, dir, s, nil, func(offset int64, text []byte) error {
			at := sample.At{Lane: lane, Pos: journal.Pos{Segment: s.Number, Offset: offset}}
			if l, err := sample.ParseLine(text); err == nil && sample.OfAll(l) && !at.Pos.Before(mark) {
				r.tail[l.Path] = index.Entry{Stat: watch.Stat{Size: l.Size, Mtime: l.Mtime}, At: at}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (r *atRest) known(path string, st watch.Stat) (index.Entry, bool) {
	if e, ok := r.tail[path]; ok && e.Stat.Size == st.Size && e.Stat.Mtime == st.Mtime {
		return e, true
	}
	e, ok, err := r.index.Get(path)
	return e, ok && err == nil && e.Stat.Same(st)
}

func (r *atRest) by(path string, at sample.At) bool {
	if e, ok := r.tail[path]; ok && e.At == at {
		return true
	}
	e, ok, err := r.index.Get(path)
	return err != nil || ok && e.At == at
}

// noted: nothing comes any more, so every line is known.
func (*atRest) noted() map[string]journal.Pos {
	end := journal.Pos{Segment: math.MaxUint64}
	return map[string]journal.Pos{journal.Live: end, journal.Backlog: end}
}

func (r *atRest) excluded(tree int, path string) bool { return r.watcher.Excluded(tree, path) }
func (*atRest) settling(string) bool                  { return false }
func (*atRest) moving() bool                          { return false }

func (*atRest) requeue(context.Context, []producer.File, func(string) bool) (int, error) {
	return 0, nil
}

func (r *atRest) close() error { return r.index.Shut() }
