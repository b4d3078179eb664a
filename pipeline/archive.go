// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/certpush/certpush/pipeline/journal"
)

// archive is journal and ledger as they lie on disk, to look things up: it
// changes nothing.
type archive struct {
	journal, ledger, cursors journal.Folder
	locks                    []func() error
	surveys                  map[string][]journal.Segment // of the lanes, as of the last question
}

// ErrNoState is in the error of what looks things up in a state folder that no
// run has made yet.
var ErrNoState = errors.New("there is no state yet: start certpush, or name its file with -c")

// look calls f with the archive. While p runs its files are read as they are;
// else both locks are held meanwhile, so that nobody moves them.
func (p *Pipeline) look(f func(*archive) error) (err error) {
	for _, dir := range []string{p.c.State, p.c.Journal.Dir} {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return fmt.Errorf("look into %s: %w", dir, ErrNoState)
		}
	}
	prod, consumers, _ := p.halves()
	a := &archive{surveys: map[string][]journal.Segment{}}
	defer func() { err = errors.Join(err, a.close()) }()
	if prod == nil && consumers == nil {
		for _, half := range Both.locks() {
			lock, err := p.c.disk.TakeLock(half, p.c.State, p.c.Journal.Dir)
			if err != nil {
				return err
			}
			a.locks = append(a.locks, lock.Close)
		}
	}
	for dir, to := range map[string]*journal.Folder{
		p.c.Journal.Dir: &a.journal, filepath.Join(p.c.State, "ledger"): &a.ledger, filepath.Join(p.c.State, "cursors"): &a.cursors,
	} {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue // nothing was pushed yet
		}
		if *to, err = p.c.disk.OpenFolder(dir); err != nil {
			return err
		}
	}
	return f(a)
}

func (a *archive) close() error {
	var errs []error
	for _, d := range []journal.Folder{a.journal, a.ledger, a.cursors} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	for _, unlock := range a.locks {
		errs = append(errs, unlock())
	}
	return errors.Join(errs...)
}

// each calls f for the segments of base, oldest first, and again for what is
// sealed meanwhile: lines that were active may then be told twice.
func each(ctx context.Context, d journal.Folder, base string, needle []byte, f func(s journal.Segment, offset int64, text []byte) error) error {
	read := map[string]bool{}
	for first := true; ; first = false {
		all, err := journal.Survey(d, base)
		if err != nil {
			return fmt.Errorf("list segments: %w", err)
		}
		sealed := len(read)
		for _, s := range all {
			if read[s.Name] || s.Active && !first && sealed == len(read) {
				continue
			}
			if !s.Active {
				read[s.Name] = true
			}
			err := journal.Find(ctx, d, s.Name, needle, func(offset int64, text []byte) error { return f(s, offset, text) })
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // pruned, or just cut
				return err
			}
		}
		if sealed == len(read) && !first {
			return nil
		}
	}
}

// lines calls told for the journal's samples in whose line needle occurs.
func (a *archive) lines(ctx context.Context, needle []byte, told func(At, Sample) error) error {
	for _, lane := range lanes {
		err := each(ctx, a.journal, journal.Base(lane), needle, func(s journal.Segment, offset int64, text []byte) error {
			sample, err := parseLine(text)
			if err != nil {
				return nil // a header, or what the consumer passes over too
			}
			return told(At{lane, journal.Pos{Segment: s.Number, Offset: offset}}, sample)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// cursorsOf returns a scanner's cursor in each lane. One that is missing or
// cannot be read is at the beginning.
func (a *archive) cursorsOf(scanner string) map[string]journal.Pos {
	at := map[string]journal.Pos{}
	for _, lane := range lanes {
		if a.cursors != nil {
			if cur, err := journal.LoadCursor(a.cursors, scanner+"."+lane); err == nil {
				at[lane] = cur
			}
		}
	}
	return at
}

// segment returns the segment that at lies in; ok is false when it is pruned.
func (a *archive) segment(at At) (s journal.Segment, ok bool, err error) {
	is := func(s journal.Segment) bool { return s.Number == at.Segment }
	i := slices.IndexFunc(a.surveys[at.Lane], is)
	if i < 0 || a.surveys[at.Lane][i].Active { // it may have a name by now
		if a.surveys[at.Lane], err = journal.Survey(a.journal, journal.Base(at.Lane)); err != nil {
			return s, false, fmt.Errorf("list journal: %w", err)
		}
		i = slices.IndexFunc(a.surveys[at.Lane], is)
	}
	if i < 0 {
		return s, false, nil
	}
	return a.surveys[at.Lane][i], true, nil
}

// line returns the sample at a place of the journal; ok is false when its
// segment is pruned.
func (a *archive) line(at At) (s Sample, ok bool, err error) {
	g, ok, err := a.segment(at)
	if err != nil || !ok {
		return s, false, err
	}
	text, ok, err := journal.LineAt(a.journal, g.Name, at.Offset)
	if err != nil || !ok {
		return s, false, err
	}
	if s, err = parseLine(text); err != nil {
		return s, false, nil // no line of ours, or a damaged one
	}
	return s, true, nil
}

// outcomes calls told for the outcomes in whose line needle occurs, oldest first.
func (a *archive) outcomes(ctx context.Context, needle []byte, told func(Outcome) error) error {
	return a.recorded(ctx, ledgerBase, needle, func(text []byte) error {
		o, err := parseOutcome(text)
		if err != nil {
			return nil // unreadable, or the torn last line
		}
		return told(o)
	})
}

// recorded calls told for the lines of a series of the ledger's folder in which
// needle occurs, oldest first.
func (a *archive) recorded(ctx context.Context, base string, needle []byte, told func(text []byte) error) error {
	if a.ledger == nil {
		return nil
	}
	return each(ctx, a.ledger, base, needle, func(_ journal.Segment, _ int64, text []byte) error { return told(text) })
}
