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
	"strings"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// Config says where the state lies that an Archive reads.
type Config struct {
	State, Journal string // folders, absolute
	Trees          []config.Tree
	Scanners       []config.Scanner
	ByCursors      bool // if cursors are there, they tell the scanners: another process pushes, or did, and may have been given others
	Disk           store.Disk
	Log            *slog.Logger
}

// Archive is journal and ledger as they lie on disk. It only reads them.
type Archive struct {
	c                        Config
	journal, ledger, cursors journal.Folder               // ledger and cursors are nil if nothing was pushed yet
	locks                    []func() error               // each gives back a lock
	surveys                  map[string][]journal.Segment // by lane, as line listed them last
}

// Open opens what lies in the state and journal folders. Set atRest if no pipeline runs
// in this process: then Open takes both locks and holds them until Close, so that
// nobody moves the files. The error wraps journal.ErrLocked if another process holds
// one of them, and store.ErrNoState if there is no state yet.
func Open(c Config, atRest bool) (_ *Archive, err error) {
	for _, dir := range []string{c.State, c.Journal} {
		d, err := c.Disk.FindFolder(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look into %s: %w", dir, store.ErrNoState)
		}
		if err != nil {
			return nil, fmt.Errorf("look into %s: %w: run as root or as the user of the service", dir, err)
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
	if c.ByCursors && a.cursors != nil {
		return a, a.takeScanners()
	}
	return a, nil
}

// takeScanners takes the scanners that have a cursor in place of the configured ones.
func (a *Archive) takeScanners() error {
	files, err := store.CursorFiles(a.cursors, journal.Live)
	if err != nil {
		return fmt.Errorf("list cursors: %w", err)
	}
	var all []config.Scanner
	for _, file := range files {
		all = append(all, config.Scanner{Name: strings.TrimSuffix(file, "."+journal.Live)})
	}
	if len(all) > 0 {
		a.c.Scanners = all
	}
	return nil
}

// Close closes the folders and gives back the locks.
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

// lines calls told for the samples of the journal lines that q selects. told reports
// whether it took the line.
func (a *Archive) lines(ctx context.Context, q query, told func(sample.At, sample.Sample) bool) error {
	for _, lane := range sample.Lanes {
		err := each(ctx, a.journal, journal.Base(lane), q, func(s journal.Segment, offset int64, text []byte) bool {
			l, err := sample.ParseLine(text)
			// Lines that cannot be parsed are headers, or lines that the consumer
			// passes over too.
			return err == nil && told(sample.At{Lane: lane, Pos: journal.Pos{Segment: s.Number, Offset: offset}}, l)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// cursorsOf returns a scanner's cursor in each lane. A cursor that is missing or cannot
// be read is at the beginning: the zero Pos.
func (a *Archive) cursorsOf(scanner string) map[string]journal.Pos {
	at := map[string]journal.Pos{}
	for _, lane := range sample.Lanes {
		if a.cursors != nil {
			if cur, err := journal.LoadCursor(a.cursors, scanner, lane); err == nil {
				at[lane] = cur.Pos
			}
		}
	}
	return at
}

// line returns the sample of the line at a place of the journal. ok is false if its
// segment is pruned, or if there is no line of ours that can be read.
func (a *Archive) line(at sample.At) (s sample.Sample, ok bool, err error) {
	for range 2 {
		all := a.surveys[at.Lane]
		i := slices.IndexFunc(all, func(s journal.Segment) bool { return s.Number == at.Segment })
		if i >= 0 {
			text, ok, err := journal.LineAt(a.journal, all[i], at.Offset)
			if err == nil && ok {
				s, err := sample.ParseLine(text)
				return s, err == nil, nil // otherwise it is damaged, or not a line of ours
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return s, false, err
			}
		} else if len(all) > 0 && at.Segment <= all[len(all)-1].Number {
			return s, false, nil
		}
		// The segment was begun or cut after the last survey.
		if a.surveys[at.Lane], err = journal.Survey(a.journal, journal.Base(at.Lane)); err != nil {
			return s, false, fmt.Errorf("list journal: %w", err)
		}
	}
	return s, false, nil
}

// outcomes calls told for the outcomes that q selects. told reports whether it took the
// outcome.
func (a *Archive) outcomes(ctx context.Context, q query, told func(sample.Outcome) bool) error {
	return a.recorded(ctx, ledger.Base, q, func(text []byte) bool {
		o, err := sample.ParseOutcome(text)
		return err == nil && told(o) // if it cannot be parsed: damaged, or the torn last line
	})
}

// recorded calls told for the lines that q selects in a series of the ledger's folder.
// told reports whether it took the line.
func (a *Archive) recorded(ctx context.Context, base string, q query, told func(text []byte) bool) error {
	if a.ledger == nil {
		return nil
	}
	return each(ctx, a.ledger, base, q, func(_ journal.Segment, _ int64, text []byte) bool { return told(text) })
}
