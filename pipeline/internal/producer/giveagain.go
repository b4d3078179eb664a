// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"errors"
	"io/fs"
	"log/slog"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// takenBack is the word that consumers leave of verdicts that they take back.
type takenBack struct {
	cursors journal.Folder // where the word lies
	lanes   *journal.Lanes
	gate    *gate
	m       *Metrics
	log     *slog.Logger
	failed  condition.Condition // lines cannot be journaled
}

// hear journals the lines by which these samples are pushed again. It logs when that
// begins to fail and when it succeeds again; it is tried each second.
func (b *takenBack) hear() {
	err := b.queue()
	switch b.failed.Note(err) {
	case condition.Began:
		b.log.Error("verdicts that are taken back cannot be journaled; it is tried each second: make room or mend the disk", "error", err)
	case condition.Ended:
		b.log.Info("verdicts that are taken back are journaled again")
	}
}

func (b *takenBack) queue() error {
	all, err := store.LoadTakenBack(b.cursors)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.Queued {
			continue
		}
		lines, err := t.Lines(b.cursors)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := b.gate.stopped(); err != nil {
			return err
		}
		_, until, err := b.lanes.Lane(journal.Live).Append(lines...)
		if err != nil {
			return err
		}
		b.m.journaled.WithLabelValues(journal.Live).Add(float64(len(lines)))
		// A crash here: these lines are journaled twice.
		if err := t.Queue(b.cursors, until); err != nil {
			return err
		}
	}
	return nil
}
