// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"container/list"
	"context"
	"errors"
	"fmt"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

const (
	placesMost = 32 << 20 // bytes of a lane's pushes that wait before lines of a flooded tree are passed over
	gapStep    = 256      // so many lines of a gap are read at a time, between new lines
)

// floods keeps a flood of lines of one tree from keeping the lines behind it waiting.
//
// While very many pushes of a lane wait, the lines of a tree with many of them are passed
// over: only the first place that was passed over is remembered, and where the last one
// ended. That is the gap of the tree. When few of its pushes wait, a reader of its own
// hands out the lines of the gap, and then the gap is closed.
//
// Between the two places of a gap each line of its tree was passed over, and none was handed
// out; each line of another tree was dealt with by the first reader. So each line is handed
// out once, and those of one tree in their order. The cursor stays at the gap's first place.
//
// lines.mu guards all but the reader of a gap, which only the goroutine that follows the
// lane has.
type floods struct {
	trees  []config.Tree
	most   int                   // placesMost
	wanted chan struct{}         // a token: a gap may be read on
	kept   map[string]int        // by tree: bytes of the pushes that wait
	bytes  int                   // of all in kept
	gaps   map[string]*gap       // by tree
	late   map[string]*list.List // by tree, of *push: those of gaps that are handed out and not finished, in order
}

// gap is a stretch of a lane in which the lines of one tree were passed over.
type gap struct {
	from journal.Cursor  // all lines of the tree before it are handed out
	to   journal.Pos     // none was passed over from here on
	n    int64           // lines that are still to be handed out
	mark ledger.Mark     // the ledger's end when the first was passed over, or before it
	left ledger.Finished // as that of the lane was at from
	r    *journal.Reader // nil: not begun
}

func newFloods(trees []config.Tree) floods {
	return floods{trees: trees, most: placesMost, wanted: make(chan struct{}, 1), kept: map[string]int{}, gaps: map[string]*gap{}, late: map[string]*list.List{}}
}

// tree returns the tree of a path. All that lies outside every tree counts as one.
func (f *floods) tree(path string) (tree string) {
	for _, t := range f.trees {
		if watch.Within(t.Path, path) && len(t.Path) > len(tree) {
			tree = t.Path
		}
	}
	return tree
}

// share returns how many bytes of pushes a tree may have waiting in any case. All trees
// together have at most one and a half times most.
func (f *floods) share() int { return f.most / 2 / (len(f.trees) + 1) }

// passes reports whether a line of a tree is to be passed over now.
func (f *floods) passes(tree string) bool {
	return f.gaps[tree] != nil || f.bytes >= f.most && f.kept[tree] >= f.share()
}

// pass notes that a line is passed over. left are the lines ahead of it that are finished.
// Only the goroutine that follows the lane calls it.
func (f *floods) pass(tree string, line journal.Line, mark ledger.Mark, left ledger.Finished) {
	switch g := f.gaps[tree]; {
	case g == nil:
		f.gaps[tree] = &gap{from: line.Cursor(), to: line.After, n: 1, mark: mark, left: left.Clone()}
	case line.At.Before(g.from.Pos): // somebody restored the journal, and the lane is read anew
		g.from, g.n = line.Cursor(), g.n+1
		if g.r != nil {
			g.r.Seek(line.At)
		}
	case line.At.Before(g.to): // the same, and it is in the gap
	default:
		g.to, g.n = line.After, g.n+1
	}
}

func cost(p *push) int { return pushCost + len(p.sample.Path) }

// keep notes a push that waits from now on.
func (f *floods) keep(p *push) {
	f.kept[f.tree(p.sample.Path)] += cost(p)
	f.bytes += cost(p)
}

// begun notes that a push waits no more.
func (f *floods) begun(p *push) {
	tree := f.tree(p.sample.Path)
	f.bytes -= cost(p)
	if f.kept[tree] -= cost(p); f.kept[tree] <= 0 {
		delete(f.kept, tree)
	}
	if f.gaps[tree] != nil && f.few(tree) {
		signal(f.wanted) // who follows the lane looks at the gaps
	}
}

// few reports whether the gap of a tree is to be read on.
func (f *floods) few(tree string) bool { return f.kept[tree] <= f.share()/2 }

// next returns the trees whose gaps are to be read on.
func (f *floods) next() (trees []string) {
	for tree := range f.gaps {
		if f.few(tree) {
			trees = append(trees, tree)
		}
	}
	return trees
}

// front returns the oldest push of a gap that is not finished, or nil.
func (f *floods) front() (oldest *push) {
	for _, all := range f.late {
		if p := all.Front().Value.(*push); oldest == nil || p.at.Pos.Before(oldest.at.Pos) {
			oldest = p
		}
	}
	return oldest
}

// insert puts a push of a gap behind those of its tree.
func (f *floods) insert(tree string, p *push) *list.Element {
	if f.late[tree] == nil {
		f.late[tree] = list.New()
	}
	return f.late[tree].PushBack(p)
}

// finished notes that a push is finished, if it is of a gap.
func (f *floods) finished(p *push) {
	tree := f.tree(p.sample.Path)
	all := f.late[tree]
	if all == nil {
		return
	}
	if all.Remove(p.place); all.Len() == 0 {
		delete(f.late, tree)
	}
}

// open returns how many pushes of gaps are handed out and not finished.
func (f *floods) open() (n int64) {
	for _, all := range f.late {
		n += int64(all.Len())
	}
	return n
}

// first returns the oldest place that was passed over, and the mark that fits it. ok is
// false if there is none.
func (f *floods) first() (at journal.Cursor, m ledger.Mark, ok bool) {
	for _, g := range f.gaps {
		if !ok || g.from.Before(at.Pos) {
			at, m, ok = g.from, g.mark, true
		}
	}
	return at, m, ok
}

// passed returns how many lines were passed over and are not handed out yet.
func (f *floods) passed() (n int64) {
	for _, g := range f.gaps {
		n += g.n
	}
	return n
}

// close closes the readers.
func (f *floods) close() error {
	var errs []error
	for _, g := range f.gaps {
		if g.r != nil {
			errs = append(errs, g.r.Close())
		}
	}
	return errors.Join(errs...)
}

// begun implements intake.
func (l *lines) begun(p *push) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lane(p.at.Lane).floods.begun(p)
}

// fillGaps hands out lines of the gaps that are to be read on. more says that it is to be
// called again at once.
func fillGaps(ctx context.Context, l *lines, lane *lane) (more bool, err error) {
	l.mu.Lock()
	trees := lane.floods.next()
	l.mu.Unlock()
	var errs []error
	for _, tree := range trees { // one that cannot go on keeps no other waiting
		l.mu.Lock()
		g := lane.floods.gaps[tree]
		l.mu.Unlock()
		is, err := fillGap(ctx, l, lane, tree, g)
		more, errs = more || is, append(errs, err)
	}
	return more, errors.Join(errs...)
}

// fillGap hands out lines of a gap: gapStep lines of the lane at most, for new lines may come
// meanwhile. more says that there is more to hand out at once.
func fillGap(ctx context.Context, l *lines, lane *lane, tree string, g *gap) (more bool, err error) {
	if g.r == nil {
		if g.r, err = lane.reader(g.from.Pos); err != nil {
			return false, fmt.Errorf("read what was passed over: %w", err)
		}
	}
	for range gapStep {
		line, found, err := g.r.Next(ctx)
		if ctx.Err() != nil {
			return false, nil
		}
		if from, to, gone := g.r.Missed(); gone {
			l.missing(lane, from, to)
		}
		if err != nil || !found {
			return false, err
		}
		p := inGap(l, lane, tree, g, line)
		if p != nil && !offer(ctx, l, lane, p) {
			return false, nil
		}
		if closes(l, lane, tree, g) {
			return true, g.r.Close()
		}
		l.mu.Lock()
		few := lane.floods.kept[tree] < lane.floods.share()
		l.mu.Unlock()
		if !few {
			break
		}
	}
	return true, nil
}

// inGap returns the push for a line that was passed over, or nil: the line is of another
// tree, finished, or for another scanner. If it cannot be read that is told: it could be when
// it was passed over.
func inGap(l *lines, lane *lane, tree string, g *gap, at journal.Line) *push {
	if at.At.Before(g.from.Pos) {
		return nil
	}
	s, err := sample.ParseLine(at.Text)
	l.mu.Lock()
	defer l.mu.Unlock()
	if (at.Long || err != nil) && at.At.Before(g.to) {
		lane.bad.add(lane.name, at.At, at.After)
	}
	if at.Long { // the place after it lies within the line: no cursor names that
		return nil
	}
	g.from = at.Behind()
	if err != nil || !at.At.Before(g.to) || lane.floods.tree(s.Path) != tree || g.left.Take(at) || sample.Passes(s, l.scanner) {
		return nil
	}
	g.n--
	p := &push{line: line{sample: s, at: sample.At{Lane: lane.name, Pos: at.At}, sum: at.Cursor().Sum, mark: g.mark}}
	p.place = lane.floods.insert(tree, p)
	lane.floods.keep(p)
	l.paths.opened(p)
	return p
}

// closes reports whether all lines of a gap are handed out. Then it is closed.
func closes(l *lines, lane *lane, tree string, g *gap) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.r.At().Before(g.to) {
		return false
	}
	delete(lane.floods.gaps, tree)
	return true
}
