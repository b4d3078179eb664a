// SPDX-License-Identifier: Apache-2.0

package look

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// Config says where the state lies that is looked into.
type Config struct {
	State, Journal string // folders, absolute
	Trees          []config.Tree
	Scanners       []config.Scanner
	Disk           store.Disk
	Log            *slog.Logger
}

// Archive is journal and ledger as they lie on disk, to look things up: it
// changes nothing.
type Archive struct {
	c                        Config
	journal, ledger, cursors journal.Folder // ledger and cursors are nil while nothing was pushed yet
	locks                    []func() error
	surveys                  map[string][]journal.Segment // of the lanes, as of the last question
}

// Open opens what lies in the state and journal folders. At rest, while no pipeline
// runs, both locks are held until Close, so that nobody moves the files; else they are
// read as they are. ErrLocked says that another process runs it, store.ErrNoState that
// there is no state.
func Open(c Config, atRest bool) (_ *Archive, err error) {
	for _, dir := range []string{c.State, c.Journal} {
		d, err := c.Disk.FindFolder(dir)
		if err != nil {
			return nil, fmt.Errorf("look into %s: %w", dir, store.ErrNoState)
		}
		if err := d.Close(); err != nil {
			return nil, fmt.Errorf("look into %s: %w", dir, err)
		}
	}
	a := &Archive{c: c, surveys: map[string][]journal.Segment{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if atRest {
		for _, half := range config.Locks(config.Both) {
			lock, err := c.Disk.TakeLock(half, c.State, c.Journal)
			if err != nil {
				return nil, err
			}
			a.locks = append(a.locks, lock.Close)
		}
	}
	for dir, to := range map[string]*journal.Folder{
		c.Journal: &a.journal, filepath.Join(c.State, "ledger"): &a.ledger, filepath.Join(c.State, "cursors"): &a.cursors,
	} {
		if *to, err = c.Disk.FindFolder(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return a, nil
}

// Close gives back the locks.
func (a *Archive) Close() error {
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

// lines calls told for the journal's samples that q is for; it says whether it
// took one.
func (a *Archive) lines(ctx context.Context, q query, told func(sample.At, sample.Sample) bool) error {
	for _, lane := range sample.Lanes {
		err := each(ctx, a.journal, journal.Base(lane), q, func(s journal.Segment, offset int64, text []byte) bool {
			l, err := sample.ParseLine(text)
			// Else a header, or what the consumer passes over too.
			return err == nil && told(sample.At{Lane: lane, Pos: journal.Pos{Segment: s.Number, Offset: offset}}, l)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// cursorsOf returns a scanner's cursor in each lane. One that is missing or
// cannot be read is at the beginning.
func (a *Archive) cursorsOf(scanner string) map[string]journal.Pos {
	at := map[string]journal.Pos{}
	for _, lane := range sample.Lanes {
		if a.cursors != nil {
			if cur, err := journal.LoadCursor(a.cursors, scanner+"."+lane); err == nil {
				at[lane] = cur
			}
		}
	}
	return at
}

// line returns the sample at a place of the journal; ok is false when its
// segment is pruned.
func (a *Archive) line(at sample.At) (s sample.Sample, ok bool, err error) {
	for range 2 {
		all := a.surveys[at.Lane]
		i := slices.IndexFunc(all, func(s journal.Segment) bool { return s.Number == at.Segment })
		if i >= 0 {
			text, ok, err := journal.LineAt(a.journal, all[i], at.Offset)
			if err == nil && ok {
				s, err := sample.ParseLine(text)
				return s, err == nil, nil // else no line of ours, or a damaged one
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return s, false, err
			}
		} else if len(all) > 0 && at.Segment <= all[len(all)-1].Number {
			return s, false, nil
		}
		// It was begun or cut since the listing.
		if a.surveys[at.Lane], err = journal.Survey(a.journal, journal.Base(at.Lane)); err != nil {
			return s, false, fmt.Errorf("list journal: %w", err)
		}
	}
	return s, false, nil
}

// outcomes calls told for the outcomes that q is for; it says whether it took one.
func (a *Archive) outcomes(ctx context.Context, q query, told func(sample.Outcome) bool) error {
	return a.recorded(ctx, ledger.Base, q, func(text []byte) bool {
		o, err := sample.ParseOutcome(text)
		return err == nil && told(o) // else unreadable, or the torn last line
	})
}

// recorded calls told for the lines of a series of the ledger's folder that q is
// for; it says whether it took one.
func (a *Archive) recorded(ctx context.Context, base string, q query, told func(text []byte) bool) error {
	if a.ledger == nil {
		return nil
	}
	return each(ctx, a.ledger, base, q, func(_ journal.Segment, _ int64, text []byte) bool { return told(text) })
}
