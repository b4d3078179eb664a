// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/journal"
)

// cursorsEvery is how often cursors are saved and looked at.
const cursorsEvery = 250 * time.Millisecond

func (l *lines) markFile() string { return l.scanner + ".mark" }

// keepCursors saves the cursors every 250 ms until ctx ends. Consumer.Run saves them
// once more after the last push.
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

// trySaving saves the cursors, and logs when that begins to fail and when it succeeds
// again. While it fails pushing goes on, because the ledger's tail tells which lines are
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

// stand returns the cursors as they are in memory, and the mark that fits them: the
// ledger from the mark on has the outcome of each finished line ahead of them.
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

// saveCursors writes the cursors that moved, and then the mark: so the ledger from the
// mark on disk on always has the outcomes that the saved cursors need. It writes nothing
// while the index may still have to forget a line that strayed.
func (l *lines) saveCursors() error {
	at, m := l.stand()
	// Read the cursors first, and ask for strayed lines second: end reports such a line
	// before a cursor passes it. So no cursor in at has passed a line that strays after
	// this question.
	if l.source.Behind() {
		return nil // the index will forget the line soon
	}
	for _, lane := range l.both() {
		pos := at[lane.name]
		if pos == lane.saved && !lane.lost {
			continue
		}
		// A crash here: the cursor on disk lags. At start the ledger's tail tells which
		// lines ahead of it are finished.
		if err := journal.SaveCursor(l.cursors, lane.file, pos); err != nil {
			return err
		}
		lane.saved, lane.lost = pos, false
	}
	if m == l.savedMark {
		return nil
	}
	// A crash here: the mark on disk lags behind the cursors. The next start reads more of
	// the ledger than it needs.
	if err := journal.SaveText(l.cursors, l.markFile(), m.String()); err != nil {
		return err
	}
	l.savedMark = m
	return nil
}
