// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// damages is the word that consumers leave of journal lines that nobody can read. The
// index knows the files of these lines, so no sweep would find them before drop.
type damages struct {
	index   *index.Index
	cursors journal.Folder // where the word lies
	log     *slog.Logger

	heard []sample.Damage // by the last hear; it has one caller
}

// hear reports whether a consumer told of new damage.
func (d *damages) hear() bool {
	all, err := store.LoadDamage(d.cursors)
	if err != nil {
		return false // tried again in a second
	}
	fresh := slices.ContainsFunc(all, func(damage sample.Damage) bool { return !slices.Contains(d.heard, damage) })
	d.heard = all
	return fresh
}

// drop makes the index forget the files of damaged lines, so that the sweep finds them.
// Then it removes the word of the damage. It logs errors; the next sweep tries again.
func (d *damages) drop(ctx context.Context) {
	all, err := store.LoadDamage(d.cursors)
	if err == nil && len(all) == 0 {
		return
	}
	if err == nil {
		err = d.index.ForgetLines(ctx, all)
	}
	if err == nil {
		err = d.index.Persist(ctx)
	}
	// A crash here: the index forgets these lines once more.
	for _, damage := range all {
		if err == nil {
			err = d.cursors.Remove(damage.Name())
		}
		if errors.Is(err, fs.ErrNotExist) { // a consumer joined it with what it found since
			err = nil
		}
	}
	if err != nil {
		d.log.Error("index cannot forget damaged lines; it is tried again at the next sweep: look at the disk", "error", err)
	}
}
