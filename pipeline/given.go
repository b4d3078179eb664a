// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// raise lets no line get a place that was given before. If the journal's end was lost,
// or the journal was restored from a backup, cursors and the ledger still name places
// behind its end. They would count a new line at such a place as finished. The index
// names such places too: the producer looks at it when it opens it.
func (o *opening) raise(ctx context.Context) error {
	given, marks, err := o.givenByCursors()
	if err != nil {
		return err
	}
	dir, err := o.p.c.disk.FindFolder(filepath.Join(o.p.c.State, "ledger"))
	if err == nil {
		var byLedger []sample.At
		byLedger, err = ledger.Furthest(ctx, dir, marks, o.p.c.Log)
		given = append(given, byLedger...)
		err = errors.Join(err, dir.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, at := range given {
		if _, err := o.lanes.Lane(at.Lane).Raise(at.Pos); err != nil {
			return err
		}
	}
	return nil
}

// givenByCursors returns the places that the files beside the cursors name, and the
// marks from which on the ledger may name more. A scanner without both of its cursors
// has the zero mark.
func (o *opening) givenByCursors() (given []sample.At, marks []ledger.Mark, err error) {
	dir := o.dirs.Cursors
	scanners, err := store.Scanners(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range scanners {
		mark := ledger.LoadMark(dir, name+".mark")
		for _, lane := range sample.Lanes {
			at, err := journal.LoadCursor(dir, name, lane)
			switch {
			case err == nil:
				given = append(given, sample.At{Lane: lane, Pos: at.Pos})
			case store.Hinders(err):
				return nil, nil, err
			default:
				mark = ledger.Mark{}
			}
		}
		marks = append(marks, mark)
	}
	damage, err := store.LoadDamage(dir)
	for _, d := range damage {
		given = append(given, sample.At{Lane: d.At.Lane, Pos: d.After})
	}
	return slices.DeleteFunc(given, func(at sample.At) bool { return !slices.Contains(sample.Lanes, at.Lane) }), marks, err
}
