// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// span is a part of one segment: the lines that begin at from or later, and before to.
type span struct{ from, to int64 }

// stretches are the spans of one segment, in order.
type stretches struct {
	segment uint64
	spans   []span
}

// Finished holds the lines ahead of a lane's cursor that had their outcome before this
// start. It needs one span for each stretch of finished lines, however many lines are
// in it.
//
// The lane is read in order, and spans are used up from the front. If a reader jumped
// back to lines that are used up, they would be pushed again.
//
// A line in a gap between spans may have no outcome, so it is never passed over.
type Finished struct {
	front []stretches // in order of segment
	Until journal.Pos // no finished line begins at or after this place
}

// Take reports whether a line is finished. It forgets all spans that end at or before
// the end of the line.
func (f *Finished) Take(line journal.Line) bool {
	for len(f.front) > 0 {
		s := &f.front[0]
		switch {
		case s.segment > line.At.Segment:
			return false
		case s.segment < line.At.Segment || len(s.spans) == 0:
			f.front = f.front[1:]
		case s.spans[0].to <= line.At.Offset:
			s.spans = s.spans[1:]
		default:
			is := s.spans[0].from <= line.At.Offset
			if s.spans[0].to <= line.After.Offset {
				s.spans = s.spans[1:]
			}
			return is
		}
	}
	return false
}

// Clone returns a copy: Take on one says nothing to the other.
func (f *Finished) Clone() Finished { return Finished{slices.Clone(f.front), f.Until} }

// FoldAt is how many places a Gathering holds before it folds them into spans: 8 MiB.
const FoldAt = 1 << 20

// Gathering makes spans from the places of finished lines. The ledger says where a line
// begins, and not where it ends. To find where each finished line ends, we read the
// journal through the gap that contains it, up to that line. A Gathering is for one
// goroutine.
type Gathering struct {
	scanner string
	cursor  journal.Pos
	lines   *journal.Reader // a reader of its own; fold seeks in it
	limit   int             // fold after this many places; FoldAt

	places map[uint64][]int64 // by segment, unsorted: added, and not folded yet
	n      int                // how many places there are
	next   int                // fold when n reaches it
	spans  map[uint64][]span
}

// NewGathering returns an empty Gathering for one scanner and lane. Lines before cursor
// do not count. The caller closes lines after End.
func NewGathering(scanner string, cursor journal.Pos, lines *journal.Reader, limit int) *Gathering {
	return &Gathering{scanner: scanner, cursor: cursor, lines: lines, limit: limit, next: limit, places: map[uint64][]int64{}, spans: map[uint64][]span{}}
}

// Add adds the place of a line that has its outcome.
func (g *Gathering) Add(ctx context.Context, at journal.Pos) {
	if at.Before(g.cursor) {
		return
	}
	g.places[at.Segment] = append(g.places[at.Segment], at.Offset)
	if g.n++; g.n >= g.next {
		g.fold(ctx)
	}
}

// fold makes spans from the places. If a segment cannot be read now, its places stay
// for the next fold: that is no reason to push their lines again. The reader of the
// lane meets the same error and reports it.
func (g *Gathering) fold(ctx context.Context) {
	g.n = 0
	for _, segment := range slices.Sorted(maps.Keys(g.places)) {
		places := g.places[segment]
		slices.Sort(places)
		places = slices.Compact(places)
		spans, err := g.foldIn(ctx, segment, places, g.spans[segment])
		if err != nil {
			g.places[segment] = places
			g.n += len(places)
			continue
		}
		delete(g.places, segment)
		if len(spans) > 0 {
			g.spans[segment] = spans
		}
	}
	g.next = g.n + g.limit
}

// foldIn returns the spans of a segment: the old ones, and those of places, which are
// sorted.
func (g *Gathering) foldIn(ctx context.Context, segment uint64, places []int64, old []span) (spans []span, err error) {
	gap := int64(0)
	if segment == g.cursor.Segment {
		gap = g.cursor.Offset
	}
	for i := range len(old) + 1 {
		end := int64(math.MaxInt64)
		if i < len(old) {
			end = old[i].from
		}
		first, _ := slices.BinarySearch(places, gap) // the places before gap are in a span already
		last, _ := slices.BinarySearch(places, end)
		if first < last {
			if spans, err = g.walk(ctx, journal.Pos{Segment: segment, Offset: gap}, places[first:last], spans); err != nil {
				return nil, err
			}
		}
		if i < len(old) {
			spans, gap = join(spans, old[i]), old[i].to
		}
	}
	return spans, nil
}

// walk reads a gap from its beginning, and appends a span for each of places in it. It
// drops a place at which no line begins, because the lane's reader never comes to it.
// So it drops all places of a segment that is not there: no new segment gets its
// number.
func (g *Gathering) walk(ctx context.Context, from journal.Pos, places []int64, spans []span) ([]span, error) {
	g.lines.Seek(from)
	for {
		line, ok, err := g.lines.Next(ctx)
		if err != nil {
			return nil, err
		}
		if !ok || line.At.Segment != from.Segment || line.At.Before(from) {
			return spans, nil
		}
		for len(places) > 0 && places[0] < line.At.Offset {
			places = places[1:]
		}
		if len(places) == 0 {
			return spans, nil
		}
		if !line.Long && (places[0] == line.At.Offset || g.passed(line)) {
			spans = join(spans, span{line.At.Offset, line.After.Offset})
		}
	}
}

// passed reports whether a line is surely for another scanner. Such a line gets no
// outcome of this scanner, and is passed over like a finished one.
func (g *Gathering) passed(line journal.Line) bool {
	if !bytes.Contains(line.Text, []byte(`"for":`)) {
		return false // cheaper than to parse the line
	}
	s, err := sample.ParseLine(line.Text)
	return err == nil && sample.Passes(s, g.scanner)
}

// join appends a span. If no line lies between it and the last span, it makes that one
// longer instead.
func join(spans []span, s span) []span {
	if n := len(spans); n > 0 && spans[n-1].to >= s.from {
		spans[n-1].to = max(spans[n-1].to, s.to)
		return spans
	}
	return append(spans, s)
}

// End folds, and returns all finished lines. A place that could not be folded becomes a
// span of that line alone.
func (g *Gathering) End(ctx context.Context) (f Finished) {
	g.fold(ctx)
	for segment, places := range g.places {
		all := g.spans[segment]
		for _, at := range places {
			all = append(all, span{at, at + 1})
		}
		slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
		var joined []span
		for _, s := range all {
			joined = join(joined, s)
		}
		g.spans[segment] = joined
	}
	for _, segment := range slices.Sorted(maps.Keys(g.spans)) {
		spans := g.spans[segment]
		f.front = append(f.front, stretches{segment, spans})
		f.Until = journal.Pos{Segment: segment, Offset: spans[len(spans)-1].to}
	}
	return f
}
