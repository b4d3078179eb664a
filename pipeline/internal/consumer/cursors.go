// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/journal"
)

const cursorsEvery = 250 * time.Millisecond

func (l *lines) markFile() string { return l.scanner + ".mark" }

// keepCursors saves the cursors as they move, and once more when ctx has ended.
func (l *lines) keepCursors(ctx context.Context) error {
	t := time.NewTicker(cursorsEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		l.trySaving()
	}
}

// trySaving saves the cursors, and tells when that begins to fail and when it
// succeeds again. A failure is no reason to stop: the ledger's tail tells what is
// finished.
func (l *lines) trySaving() {
	err := l.saveCursors()
	switch l.unsaved.Note(err) {
	case condition.Began:
		l.log.Error("cursors cannot be saved; pushing goes on, a restart repeats less if you make room or mend the disk", "error", err)
	case condition.Ended:
		l.log.Info("cursors are saved again")
	}
}

// stand returns the cursors as they are now, and the mark that fits them: from it on
// the ledger tells all that is finished ahead of them.
func (l *lines) stand() (at map[string]journal.Pos, m ledger.Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, m = map[string]journal.Pos{}, l.handed
	for _, lane := range l.both() {
		at[lane.name] = lane.cursor()
		if k, ok := lane.readBackFrom(); ok && l.led.Before(k, m) {
			m = k
		}
	}
	return at, m
}

// saveCursors writes what moved, the mark last: the mark on disk never leaves out
// outcomes that the saved cursors need.
func (l *lines) saveCursors() error {
	at, m := l.stand()
	// The cursors first, then whether a line strayed: it is told before a cursor passes
	// it. A line that strays after this is not behind at.
	if l.source.Behind() {
		return nil // soon the index has forgotten it
	}
	for _, lane := range l.both() {
		pos := at[lane.name]
		if pos == lane.saved && !lane.lost {
			continue
		}
		// A crash here: the cursor lags, and the ledger's tail tells what is finished.
		if err := journal.SaveCursor(l.cursors, lane.file, pos); err != nil {
			return err
		}
		lane.saved, lane.lost = pos, false
	}
	if m == l.savedMark {
		return nil
	}
	// A crash here: the mark lags behind the cursors, and a start reads back more than
	// it needs.
	if err := journal.SaveText(l.cursors, l.markFile(), m.String()); err != nil {
		return err
	}
	l.savedMark = m
	return nil
}
