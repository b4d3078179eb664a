// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// span is a stretch of one segment: every line that begins at from or behind it,
// and before to.
type span struct{ from, to int64 }

// stretches are the spans of one segment, in order.
type stretches struct {
	segment uint64
	spans   []span
}

// Finished is which lines ahead of a lane's cursor had their outcome before this
// start: as many spans as there are gaps between them, however many lines they
// are. The lane is read in order, so they are used up from the front; were a
// reader to jump back behind what is used up, those lines would be pushed again.
//
// A line in a gap is never passed over, for it may have no outcome.
type Finished struct {
	front []stretches // by segment
	Until journal.Pos // before this place there may be one
}

// Take tells if a line is finished, and forgets all up to its end.
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

// foldAt is how many places are gathered before they are made spans of: 8 MiB.
const FoldAt = 1 << 20

// Gathering makes spans of what the ledger tells. The ledger names where a line
// begins and not where it ends, so the journal is read for that: each gap that a
// line is told of in, up to that line.
type Gathering struct {
	scanner string
	cursor  journal.Pos
	lines   *journal.Reader // a third of the lane: told where to read
	limit   int             // foldAt

	places map[uint64][]int64 // told and not folded, by segment, in no order
	n      int                // of them
	next   int                // at so many they are folded
	spans  map[uint64][]span
}

func NewGathering(scanner string, cursor journal.Pos, lines *journal.Reader, limit int) *Gathering {
	return &Gathering{scanner: scanner, cursor: cursor, lines: lines, limit: limit, next: limit, places: map[uint64][]int64{}, spans: map[uint64][]span{}}
}

// Add takes the place of a line that has its outcome.
func (g *Gathering) Add(at journal.Pos) {
	if at.Before(g.cursor) {
		return
	}
	g.places[at.Segment] = append(g.places[at.Segment], at.Offset)
	if g.n++; g.n >= g.next {
		g.fold()
	}
}

// fold makes spans of what was gathered. Where a segment cannot be read now its
// places stay as they are, for the next fold: it is no reason to push their lines
// again, and who reads the lane comes to the error and tells of it.
func (g *Gathering) fold() {
	g.n = 0
	for _, segment := range slices.Sorted(maps.Keys(g.places)) {
		places := g.places[segment]
		slices.Sort(places)
		places = slices.Compact(places)
		spans, err := g.foldIn(segment, places, g.spans[segment])
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

// foldIn returns the spans of a segment with those of places, which are in order.
func (g *Gathering) foldIn(segment uint64, places []int64, old []span) (spans []span, err error) {
	gap := int64(0)
	if segment == g.cursor.Segment {
		gap = g.cursor.Offset
	}
	for i := range len(old) + 1 {
		end := int64(math.MaxInt64)
		if i < len(old) {
			end = old[i].from
		}
		first, _ := slices.BinarySearch(places, gap) // those before are in a span already
		last, _ := slices.BinarySearch(places, end)
		if first < last {
			if spans, err = g.walk(journal.Pos{Segment: segment, Offset: gap}, places[first:last], spans); err != nil {
				return nil, err
			}
		}
		if i < len(old) {
			spans, gap = join(spans, old[i]), old[i].to
		}
	}
	return spans, nil
}

// walk reads a gap from its begin, and appends the spans of places in it. Where no
// line begins at a place nobody will come to it: it is dropped. That holds for a
// whole segment that is not there, too: no new one gets its number.
func (g *Gathering) walk(from journal.Pos, places []int64, spans []span) ([]span, error) {
	g.lines.Seek(from)
	for {
		line, ok, err := g.lines.Next()
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

// passed tells if a line is surely another scanner's: it gets no outcome of this
// one, and is passed over like a finished one.
func (g *Gathering) passed(line journal.Line) bool {
	if !bytes.Contains(line.Text, []byte(`"for":`)) {
		return false // it costs less than to parse it
	}
	s, err := sample.ParseLine(line.Text)
	return err == nil && sample.Passes(s, g.scanner)
}

// join appends a span to those before it: to the last of them where no line is in
// between.
func join(spans []span, s span) []span {
	if n := len(spans); n > 0 && spans[n-1].to >= s.from {
		spans[n-1].to = max(spans[n-1].to, s.to)
		return spans
	}
	return append(spans, s)
}

// End returns all that was gathered. A place that could not be folded is a span of
// that line alone.
func (g *Gathering) End() (f Finished) {
	g.fold()
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
