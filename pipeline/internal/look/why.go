// SPDX-License-Identifier: Apache-2.0

package look

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
)

// maxStory is how many lines, tries, outcomes and waiting lines a Story holds at most,
// of each.
const maxStory = 1000

// Story is what journal and ledger say about a sample. Each list is in order of time.
type Story struct {
	Lines    []Journaled      `json:"lines"`
	Tries    []sample.Try     `json:"tries"` // failed ones
	Outcomes []sample.Outcome `json:"outcomes"`
	Waiting  []Pending        `json:"waiting"`
	More     bool             `json:"more"` // older ones were left out
	Now      []string         `json:"now"`  // of a path: what lies there now, and what keeps it from its scanners

	Withdrawn []Withdrawn `json:"withdrawn"` // the cleans that are taken back

	cut struct{ lines, tries, outcomes bool } // the lists from which older ones were left out
}

// Journaled is a journal line and its place.
type Journaled struct {
	At     string        `json:"at"` // LANE:SEGMENT:OFFSET
	Sample sample.Sample `json:"sample"`
	at     sample.At
}

// Pending is a line that has no outcome of a configured scanner yet.
type Pending struct {
	Scanner string `json:"scanner"`
	At      string `json:"at"`
}

var (
	sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)
	idForm     = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

// Why returns the story of the sample that key names: an absolute path in all its
// versions, a SHA-256 in hex, an id, or LANE:SEGMENT:OFFSET. A Story without lines and
// outcomes means that nothing about it is kept. Of each list the newest thousand are
// returned. Any other key is an error.
func (a *Archive) Why(ctx context.Context, key string) (s Story, err error) {
	switch at, ok := sample.ParseAt(key); {
	case ok:
		err = s.ofPlace(ctx, a, at)
	case sha256Form.MatchString(key):
		err = s.ofHash(ctx, a, key)
	case idForm.MatchString(key):
		err = s.of(ctx, a, one(sample.ByID, key, sample.AppendText([]byte(`"id":`), key)), func(id, _ string) bool { return id == key })
	case filepath.IsAbs(key):
		err = s.ofPath(ctx, a, key)
	default:
		err = fmt.Errorf("%q is no absolute path, SHA-256, id or place in the journal", key)
	}
	if err != nil {
		return s, err
	}
	s.order()
	s.pending(a)
	if err := s.withdrawn(ctx, a); err != nil {
		return s, err
	}
	s.shorten()
	return s, nil
}

// of collects the lines, outcomes and tries that query q selects and for which `is`
// returns true.
func (s *Story) of(ctx context.Context, a *Archive, q query, is func(id, path string) bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.lines(ctx, a, q, func(l sample.Sample) bool { return is(l.ID, l.Path) }) })
	g.Go(func() error { return s.ended(ctx, a, q, func(o sample.Outcome) bool { return is(o.ID, o.Path) }) })
	g.Go(func() error { return s.tried(ctx, a, q, func(t sample.Try) bool { return is(t.ID, t.Path) }) })
	return g.Wait()
}

// ended collects the outcomes that q selects and for which `is` returns true.
func (s *Story) ended(ctx context.Context, a *Archive, q query, is func(sample.Outcome) bool) error {
	return a.outcomes(ctx, q, func(o sample.Outcome) bool {
		if !is(o) {
			return false
		}
		s.Outcomes = newest(append(s.Outcomes, o), byTime, &s.cut.outcomes)
		return true
	})
}

// tried collects the failed tries that q selects and for which `is` returns true.
func (s *Story) tried(ctx context.Context, a *Archive, q query, is func(sample.Try) bool) error {
	if a.ledger == nil {
		return nil
	}
	if st, err := a.ledger.Lstat(ledger.TriesBase); err == nil && !st.Mode().IsRegular() {
		return nil // not our file: there are no tries on record
	}
	return a.recorded(ctx, ledger.TriesBase, q, func(text []byte) bool {
		var t sample.Try
		if t.UnmarshalJSON(text) != nil || !is(t) {
			return false
		}
		s.Tries = newest(append(s.Tries, t), byTry, &s.cut.tries)
		return true
	})
}

// ofPath collects what belongs to a path, in all its versions.
func (s *Story) ofPath(ctx context.Context, a *Archive, path string) error {
	is := func(_, p string) bool { return p == path }
	// The needle is the raw path, which also finds a bare line, unless JSON escapes it.
	q := one(sample.ByPath, path, []byte(path))
	if text := sample.AppendText(nil, path); string(text[1:len(text)-1]) == path {
		return s.of(ctx, a, q, is)
	}
	q.needle = nil // parse each line: it may have either form
	return s.of(ctx, a, q, is)
}

// lines collects the journal lines that q selects and for which `is` returns true.
func (s *Story) lines(ctx context.Context, a *Archive, q query, is func(sample.Sample) bool) error {
	return a.lines(ctx, q, func(at sample.At, l sample.Sample) bool {
		if !is(l) {
			return false
		}
		s.Lines = newest(append(s.Lines, Journaled{at.String(), l, at}), bySeen, &s.cut.lines)
		return !l.Bare() // a bare line has no time: it does not count towards the limit
	})
}

// ofPlace collects what belongs to one journal line.
func (s *Story) ofPlace(ctx context.Context, a *Archive, at sample.At) error {
	if err := s.line(a, at); err != nil {
		return err
	}
	q := one(sample.ByPlace, at.String(), sample.AppendText([]byte(`"at":`), at.String()))
	if err := s.ended(ctx, a, q, func(o sample.Outcome) bool { return o.At == at }); err != nil {
		return err
	}
	return s.tried(ctx, a, q, func(t sample.Try) bool { return t.At == at })
}

// line adds the journal line at a place, if it is still there.
func (s *Story) line(a *Archive, at sample.At) error {
	l, ok, err := a.line(at)
	if ok {
		s.Lines = append(s.Lines, Journaled{at.String(), l, at})
	}
	return err
}

// ofHash collects what belongs to a SHA-256. Only the ledger knows hashes, so it reads
// that first, and then the lines and tries at the places of its outcomes.
func (s *Story) ofHash(ctx context.Context, a *Archive, sum string) error {
	q := one(sample.ByHash, sum, sample.AppendText([]byte(`"sha256":`), sum))
	if err := s.ended(ctx, a, q, func(o sample.Outcome) bool { return o.SHA256 == sum }); err != nil {
		return err
	}
	told := map[sample.At]bool{{}: true}
	q = query{limit: 2 * maxStory}
	for _, o := range s.Outcomes {
		if told[o.At] {
			continue
		}
		told[o.At] = true
		if err := s.line(a, o.At); err != nil {
			return err
		}
		q.keys = append(q.keys, append([]byte(sample.ByPlace), o.At.String()...))
	}
	if q.keys == nil {
		return nil
	}
	return s.tried(ctx, a, q, func(t sample.Try) bool { return told[t.At] })
}

func bySeen(a, b Journaled) int {
	return cmp.Or(a.Sample.Seen.Compare(b.Sample.Seen), byAt(a.at, b.at))
}
func byTime(a, b sample.Outcome) int {
	return cmp.Or(a.Time.Compare(b.Time), byAt(a.At, b.At), cmp.Compare(a.Scanner, b.Scanner))
}
func byTry(a, b sample.Try) int {
	return cmp.Or(a.Time.Compare(b.Time), byAt(a.At, b.At), cmp.Compare(a.Scanner, b.Scanner), cmp.Compare(a.Try, b.Try))
}
func byAt(a, b sample.At) int {
	return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.Segment, b.Segment), cmp.Compare(a.Offset, b.Offset))
}

// newest returns all. If they are twice maxStory or more, it returns the newest
// maxStory and sets more: so a list cannot grow without end.
func newest[T any](all []T, order func(a, b T) int, more *bool) []T {
	if len(all) < 2*maxStory {
		return all
	}
	slices.SortStableFunc(all, order)
	return shortened(all, more)
}

// order sorts each list by time, and drops lines that were read twice.
func (s *Story) order() {
	slices.SortStableFunc(s.Lines, bySeen)
	s.Lines = slices.CompactFunc(s.Lines, func(a, b Journaled) bool { return a.at == b.at })
	slices.SortStableFunc(s.Outcomes, byTime)
	s.Outcomes = slices.CompactFunc(s.Outcomes, func(a, b sample.Outcome) bool {
		return bytes.Equal(sample.AppendLine(nil, a), sample.AppendLine(nil, b))
	})
	slices.SortStableFunc(s.Tries, byTry)
	s.Tries = slices.Compact(s.Tries)
}

// shorten drops the oldest entries of each list beyond maxStory.
func (s *Story) shorten() {
	s.Lines = shortened(s.Lines, &s.cut.lines)
	s.Outcomes = shortened(s.Outcomes, &s.cut.outcomes)
	s.Tries = shortened(s.Tries, &s.cut.tries)
	s.Waiting = shortened(s.Waiting, &s.cut.lines)
	s.More = s.cut.lines || s.cut.tries || s.cut.outcomes
}

func shortened[T any](all []T, more *bool) []T {
	if len(all) <= maxStory {
		return all
	}
	*more = true
	return slices.Delete(all, 0, len(all)-maxStory)
}

// pending finds the lines that have no outcome of a scanner yet. Lines behind its
// cursor are finished. If older outcomes were left out, it cannot know about lines that
// are older than the oldest outcome in s, and leaves them out too.
func (s *Story) pending(a *Archive) {
	for _, c := range a.c.Scanners {
		cursor := a.cursorsOf(c.Name)
		for _, l := range s.Lines {
			ended := slices.ContainsFunc(s.Outcomes, func(o sample.Outcome) bool { return o.Scanner == c.Name && o.At == l.at })
			if ended || l.Sample.For != "" && l.Sample.For != c.Name || s.cut.outcomes && l.Sample.Seen.Before(s.Outcomes[0].Time) {
				continue
			}
			if !l.at.Pos.Before(cursor[l.at.Lane]) {
				s.Waiting = append(s.Waiting, Pending{c.Name, l.At})
			}
		}
	}
}
