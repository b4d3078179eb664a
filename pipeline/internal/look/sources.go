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

// known is the knowledge about the files in the trees. It comes from a pipeline that
// runs, or from the state that a pipeline left on disk.
type known interface {
	// known returns the entry of path, if it is journaled in this version.
	known(path string, st watch.Stat) (e index.Entry, ok bool)
	// entries calls each for each of some files of a folder, with its entry if it is
	// journaled in this version. It costs less than known for each of them.
	entries(f watch.Folder, files []watch.Entry, each func(file watch.Entry, e index.Entry, ok bool)) error
	// by reports whether path is journaled, or may be, by the line at this very place.
	by(path string, at sample.At) bool
	// version reports whether path is journaled, or may be, in the version that id names.
	version(path, id string) bool
	// hash returns the SHA-256 of path and the version that it had before and after. If
	// it changed meanwhile, the version is the zero one.
	hash(ctx context.Context, path string) (sum [32]byte, st watch.Stat, err error)
	// noted returns the place in each lane up to which all lines are in the index.
	// Later lines may be in it too.
	noted() map[string]journal.Pos
	// excluded reports whether include and exclude leave path out.
	excluded(tree int, path string) bool
	// settling reports whether path waits to settle, or was settled and is not
	// journaled yet.
	settling(path string) bool
	// moving reports whether a file that is not known may become known soon.
	moving() bool
	// requeue journals files again, except those that known then reports as known. It
	// returns how many it journaled.
	requeue(ctx context.Context, files []producer.File, known func(path string) bool) (int, error)
}

// running is the knowledge of a producer that runs in this process.
type running struct{ p *producer.Producer }

func (r running) known(path string, st watch.Stat) (index.Entry, bool) {
	e, ok, err := r.p.Index().Get(path)
	return e, ok && err == nil && e.Knows(st, r.p.Watcher().Same(path, st.Dev))
}

func (r running) entries(f watch.Folder, files []watch.Entry, each func(watch.Entry, index.Entry, bool)) error {
	return r.p.Index().Entries(f.Path, files, r.p.Watcher().Same(filepath.Join(f.Path, "."), f.Dev), each)
}

func (r running) by(path string, at sample.At) bool {
	e, ok, err := r.p.Index().Get(path)
	return err != nil || ok && e.At == at
}

func (r running) version(path, id string) bool {
	e, ok, err := r.p.Index().Get(path)
	return err != nil || ok && isOf(e, path, id)
}

// isOf reports whether id names the version of an entry of path.
func isOf(e index.Entry, path, id string) bool {
	return sample.OfFile(path, e.Stat.Size, e.Stat.Mtime).ID == id
}

// unpaced lets a read go on at once.
func unpaced(int) error { return nil }

func (r running) hash(ctx context.Context, path string) ([32]byte, watch.Stat, error) {
	return producer.Hash(ctx, r.p.Watcher(), path, unpaced)
}

func (r running) noted() map[string]journal.Pos       { return r.p.Index().Noted() }
func (r running) excluded(tree int, path string) bool { return r.p.Watcher().Excluded(tree, path) }
func (r running) settling(path string) bool           { return r.p.Watcher().Settling(path) }
func (r running) moving() bool                        { return true }

func (r running) requeue(ctx context.Context, files []producer.File, known func(string) bool) (int, error) {
	return r.p.Requeue(ctx, files, known)
}

// atRest is the knowledge that a pipeline left: its index, and the lines that are in
// the journal and not in the index yet (tail, by path). It writes nothing, not even to
// the index: a new file there would belong to the user that runs the verify.
type atRest struct {
	watcher *watch.Watcher
	index   *index.Index
	tail    map[string]index.Entry
}

// newAtRest opens the index to read, and reads the tail of each lane that it has a mark
// for.
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

// readTail reads the lines of a lane from the index's mark on into r.tail.
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
			if at.Pos.Before(mark) {
				return nil // most of a segment
			}
			if l, err := sample.ParseLine(text); err == nil && sample.OfAll(l) {
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
	if e, ok := r.late(path, st); ok {
		return e, true
	}
	e, ok, err := r.index.Get(path)
	return e, ok && err == nil && e.Knows(st, r.watcher.Same(path, st.Dev))
}

func (r *atRest) entries(f watch.Folder, files []watch.Entry, each func(watch.Entry, index.Entry, bool)) error {
	same := r.watcher.Same(filepath.Join(f.Path, "."), f.Dev)
	return r.index.Entries(f.Path, files, same, func(file watch.Entry, e index.Entry, ok bool) {
		if len(r.tail) > 0 {
			if late, is := r.late(filepath.Join(f.Path, file.Name), file.Stat); is {
				e, ok = late, true
			}
		}
		each(file, e, ok)
	})
}

// late returns the entry of path if its line is in the tail, and of this version.
func (r *atRest) late(path string, st watch.Stat) (index.Entry, bool) {
	e, ok := r.tail[path]
	return e, ok && e.Stat.Size == st.Size && e.Stat.Mtime == st.Mtime
}

func (r *atRest) by(path string, at sample.At) bool {
	if e, ok := r.tail[path]; ok && e.At == at {
		return true
	}
	e, ok, err := r.index.Get(path)
	return err != nil || ok && e.At == at
}

func (r *atRest) version(path, id string) bool {
	if e, ok := r.tail[path]; ok && isOf(e, path, id) {
		return true
	}
	e, ok, err := r.index.Get(path)
	return err != nil || ok && isOf(e, path, id)
}

func (r *atRest) hash(ctx context.Context, path string) ([32]byte, watch.Stat, error) {
	return producer.Hash(ctx, r.watcher, path, unpaced)
}

// noted returns the end of all lanes: the whole journal was read, and no line is added.
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
