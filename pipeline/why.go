// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"

	"golang.org/x/sync/errgroup"
)

// maxStory is how many journal lines and outcomes a Story holds at most.
const maxStory = 1000

// Story is what journal and ledger know of a sample, each part in order of time.
type Story struct {
	Lines    []Journaled `json:"lines"`
	Tries    []Try       `json:"tries"` // that failed
	Outcomes []Outcome   `json:"outcomes"`
	Waiting  []Pending   `json:"waiting"`
	More     bool        `json:"more"` // there is more than is told here

	cut struct{ lines, tries, outcomes bool } // of each there is more
}

// Journaled is a journal line and its place.
type Journaled struct {
	At     string `json:"at"` // LANE:SEGMENT:OFFSET
	Sample Sample `json:"sample"`
	at     At
}

// Pending is a line that a configured scanner has no outcome for.
type Pending struct {
	Scanner string `json:"scanner"`
	At      string `json:"at"`
}

var (
	sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)
	idForm     = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

// Why tells the story of the sample that key names: an absolute path in any of
// its versions, a SHA-256 in hex, an id, or LANE:SEGMENT:OFFSET. A Story without
// lines and outcomes says that what is kept knows nothing of it; of a long one
// the newest thousand are told.
//
// While p does not run the state folder is locked meanwhile; ErrLocked then says
// that another process runs it, ErrNoState that there is none.
func (p *Pipeline) Why(ctx context.Context, key string) (s Story, err error) {
	err = p.look(func(a *archive) error {
		switch at, ok := parseAt(key); {
		case ok:
			err = s.ofPlace(ctx, a, at)
		case sha256Form.MatchString(key):
			err = s.ofHash(ctx, a, key)
		case idForm.MatchString(key):
			err = s.of(ctx, a, appendText([]byte(`"id":`), key), func(id, _ string) bool { return id == key })
		case filepath.IsAbs(key):
			err = s.ofPath(ctx, a, key)
		default:
			err = fmt.Errorf("%q is no absolute path, SHA-256, id or place in the journal", key)
		}
		if err != nil {
			return err
		}
		s.order()
		s.pending(p.c.Scanners, a)
		return nil
	})
	return s, err
}

// of gathers all that holds needle and is is.
func (s *Story) of(ctx context.Context, a *archive, needle []byte, is func(id, path string) bool) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.lines(ctx, a, needle, func(l Sample) bool { return is(l.ID, l.Path) }) })
	g.Go(func() error { return s.ended(ctx, a, needle, func(o Outcome) bool { return is(o.ID, o.Path) }) })
	g.Go(func() error { return s.tried(ctx, a, needle, func(t Try) bool { return is(t.ID, t.Path) }) })
	return g.Wait()
}

// ended gathers the outcomes that hold needle and are is.
func (s *Story) ended(ctx context.Context, a *archive, needle []byte, is func(Outcome) bool) error {
	return a.outcomes(ctx, needle, func(o Outcome) error {
		if is(o) {
			s.Outcomes = newest(append(s.Outcomes, o), byTime, &s.cut.outcomes)
		}
		return nil
	})
}

// tried gathers the failed tries that hold needle and are is.
func (s *Story) tried(ctx context.Context, a *archive, needle []byte, is func(Try) bool) error {
	if a.ledger == nil {
		return nil
	}
	if st, err := a.ledger.Lstat(triesBase); err == nil && !st.Mode().IsRegular() {
		return nil // none of ours; no try is on record
	}
	return a.recorded(ctx, triesBase, needle, func(text []byte) error {
		var t Try
		if t.UnmarshalJSON(text) == nil && is(t) {
			s.Tries = newest(append(s.Tries, t), byTry, &s.cut.tries)
		}
		return nil
	})
}

func (s *Story) ofPath(ctx context.Context, a *archive, path string) error {
	is := func(_, p string) bool { return p == path }
	// As it stands in a bare line, too, unless JSON writes it otherwise.
	needle := []byte(path)
	if text := appendText(nil, path); string(text[1:len(text)-1]) == path {
		return s.of(ctx, a, needle, is)
	}
	if err := s.of(ctx, a, appendPath(nil, path), is); err != nil {
		return err
	}
	return s.lines(ctx, a, needle, func(l Sample) bool { return l.Bare() && l.Path == path })
}

// lines gathers the journal lines that hold needle and are is.
func (s *Story) lines(ctx context.Context, a *archive, needle []byte, is func(Sample) bool) error {
	return a.lines(ctx, needle, func(at At, l Sample) error {
		if is(l) {
			s.Lines = newest(append(s.Lines, Journaled{at.String(), l, at}), bySeen, &s.cut.lines)
		}
		return nil
	})
}

// ofPlace gathers what belongs to one journal line.
func (s *Story) ofPlace(ctx context.Context, a *archive, at At) error {
	if err := s.line(a, at); err != nil {
		return err
	}
	needle := appendText([]byte(`"at":`), at.String())
	if err := s.ended(ctx, a, needle, func(o Outcome) bool { return o.At == at }); err != nil {
		return err
	}
	return s.tried(ctx, a, needle, func(t Try) bool { return t.At == at })
}

// line adds the journal line at a place, where it is still kept.
func (s *Story) line(a *archive, at At) error {
	l, ok, err := a.line(at)
	if ok {
		s.Lines = append(s.Lines, Journaled{at.String(), l, at})
	}
	return err
}

// ofHash begins with the ledger, which alone knows hashes.
func (s *Story) ofHash(ctx context.Context, a *archive, sum string) error {
	if err := s.ended(ctx, a, appendText([]byte(`"sha256":`), sum), func(o Outcome) bool { return o.SHA256 == sum }); err != nil {
		return err
	}
	told := map[At]bool{{}: true}
	for _, o := range s.Outcomes {
		if told[o.At] {
			continue
		}
		told[o.At] = true
		if err := s.line(a, o.At); err != nil {
			return err
		}
	}
	return s.tried(ctx, a, nil, func(t Try) bool { return told[t.At] })
}

func bySeen(a, b Journaled) int {
	return cmp.Or(a.Sample.Seen.Compare(b.Sample.Seen), cmp.Compare(a.At, b.At))
}
func byTime(a, b Outcome) int { return a.Time.Compare(b.Time) }
func byTry(a, b Try) int      { return a.Time.Compare(b.Time) }

// newest keeps all from growing without end: the oldest of too many are dropped.
func newest[T any](all []T, order func(a, b T) int, more *bool) []T {
	if len(all) < 2*maxStory {
		return all
	}
	slices.SortStableFunc(all, order)
	*more = true
	return slices.Delete(all, 0, len(all)-maxStory)
}

// order sorts by time, drops what was told twice, and what is too much.
func (s *Story) order() {
	s.More = s.cut.lines || s.cut.tries || s.cut.outcomes
	slices.SortStableFunc(s.Lines, bySeen)
	s.Lines = slices.CompactFunc(s.Lines, func(a, b Journaled) bool { return a.at == b.at })
	slices.SortStableFunc(s.Outcomes, byTime)
	s.Outcomes = slices.CompactFunc(s.Outcomes, func(a, b Outcome) bool { return bytes.Equal(a.appendLine(nil), b.appendLine(nil)) })
	slices.SortStableFunc(s.Tries, byTry)
	s.Tries = slices.Compact(s.Tries)
}

// pending finds the lines that a scanner has no outcome for. Behind its cursor
// there is none without.
func (s *Story) pending(scanners []Scanner, a *archive) {
	for _, c := range scanners {
		cursor := a.cursorsOf(c.Name)
		for _, l := range s.Lines {
			ended := slices.ContainsFunc(s.Outcomes, func(o Outcome) bool { return o.Scanner == c.Name && o.At == l.at })
			if ended || l.Sample.For != "" && l.Sample.For != c.Name {
				continue
			}
			if !l.at.Pos.Before(cursor[l.at.Lane]) {
				s.Waiting = append(s.Waiting, Pending{c.Name, l.At})
			}
		}
	}
}
