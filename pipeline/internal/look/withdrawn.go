// SPDX-License-Identifier: Apache-2.0

package look

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
)

// clean is the only verdict that is taken back, as package scan writes it.
const clean = "clean"

// Withdrawn is a clean that is taken back, because its address turned out blind. The
// sample has no new outcome yet.
type Withdrawn struct {
	Scanner string `json:"scanner"`
	Of      string `json:"of"` // the place of the line of that clean
	At      string `json:"at"` // the line by which the sample is pushed again; "": it is not journaled yet
}

// withdrawn finds the cleans that are taken back. What became of them it asks by path, for
// the lines by which they are pushed again are not in every story.
func (s *Story) withdrawn(ctx context.Context, a *Archive) error {
	if a.cursors == nil || len(s.Outcomes) == 0 {
		return nil
	}
	all, err := store.LoadTakenBack(a.cursors)
	if err != nil || len(all) == 0 {
		return err
	}
	whole := map[string]*Story{} // by path
	for _, o := range s.Outcomes {
		if o.Verdict != clean {
			continue
		}
		if whole[o.Path] == nil {
			whole[o.Path] = &Story{}
			if err := whole[o.Path].ofPath(ctx, a, o.Path); err != nil {
				return err
			}
			whole[o.Path].order()
			whole[o.Path].pending(a)
		}
		if whole[o.Path].later(o) {
			continue
		}
		for _, t := range all {
			if t.Scanner != o.Scanner {
				continue
			}
			at, is, err := whole[o.Path].givenBy(a, t, o)
			if err != nil {
				return err
			}
			if is {
				s.Withdrawn = append(s.Withdrawn, Withdrawn{o.Scanner, o.At.String(), at})
				break
			}
		}
	}
	return nil
}

// later reports whether a scanner gave a later outcome of the path of o.
func (s *Story) later(o sample.Outcome) bool {
	return slices.ContainsFunc(s.Outcomes, func(n sample.Outcome) bool {
		return n.Scanner == o.Scanner && n.Path == o.Path && byTime(o, n) < 0
	})
}

// givenBy reports whether the sample of o is pushed again by a line of t, and where that
// line is, if it is journaled.
func (s *Story) givenBy(a *Archive, t store.TakenBack, o sample.Outcome) (at string, is bool, err error) {
	if t.Queued {
		for _, w := range s.Waiting {
			i := slices.IndexFunc(s.Lines, func(l Journaled) bool { return l.At == w.At })
			if w.Scanner == t.Scanner && i >= 0 && s.Lines[i].Sample.Path == o.Path && s.Lines[i].Sample.For == t.Scanner && s.Lines[i].at.Pos.Before(t.Until) {
				return w.At, true, nil
			}
		}
		return "", false, nil
	}
	lines, err := t.Lines(a.cursors)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil // it was journaled just now
	}
	return "", slices.ContainsFunc(lines, func(text []byte) bool {
		l, err := sample.ParseLine(bytes.TrimSuffix(text, []byte("\n")))
		return err == nil && l.Path == o.Path
	}), err
}
