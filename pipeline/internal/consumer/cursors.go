// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/journal"
)

// cursorsEvery is how often cursors are saved and looked at.
const cursorsEvery = 250 * time.Millisecond

func markFile(scanner string) string { return scanner + ".mark" }

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
		l.sayMore()
	}
}

// trySaving saves the cursors, and what of the sight is not on disk yet, and logs when that
// begins to fail and when it succeeds again. While it fails pushing goes on, because the
// ledger's tail tells which lines are finished.
func (l *lines) trySaving() {
	err := errors.Join(l.saveCursors(), l.keep())
	l.finish(l.live.saved.Pos)
	switch l.unsaved.Note(err) {
	case condition.Began:
		l.log.Error("cursors cannot be saved; pushing goes on, a restart repeats less if you make room or mend the disk", "error", err)
	case condition.Ended:
		l.log.Info("cursors are saved again")
	}
}

// stand returns the cursors as they are in memory, and the mark that fits them: the
// ledger from the mark on has the outcome of each finished line ahead of them.
func (l *lines) stand() (at map[string]journal.Cursor, m ledger.Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, m = map[string]journal.Cursor{}, l.handed
	for _, lane := range l.both() {
		at[lane.name] = lane.cursor()
		if k, ok := lane.readBackFrom(); ok && l.led.Before(k, m) {
			m = k
		}
	}
	return at, m
}

// standing is where the lanes stood at one moment.
type standing struct {
	at     map[string]journal.Cursor // by lane
	mark   ledger.Mark
	strays uint64 // lines that had strayed by then
	waits  bool   // for the index to forget those
}

// marks are the two places in the ledger that lie in the file of a scanner's mark, as they
// are on disk.
type marks struct {
	from ledger.Mark  // a start reads the outcomes from there
	told *ledger.Mark // what lies behind it is told again; nil: not known
}

// saveCursors writes the cursors that moved, and then the mark: so the ledger from the
// mark on disk on always has the outcomes that the saved cursors need. With the mark it
// writes up to where all outcomes are told, and only that while a standing waits.
//
// A standing is saved when the index has forgotten the lines that had strayed by then.
// Until then it waits, and no newer one takes its place: lines may stray all the time.
// Damage that was found by then is told before it is saved.
func (l *lines) saveCursors() error {
	for {
		waited := l.held.waits
		if !waited {
			// The cursors first, the strays second: end tells of a line that strays before a
			// cursor passes it.
			at, m := l.stand()
			told, _ := l.source.Strays()
			l.held = standing{at, m, told, true}
		}
		// After the standing: a cursor may be past what was found until then.
		if err := l.tellDamage(); err != nil {
			return err
		}
		if _, forgotten := l.source.Strays(); forgotten < l.held.strays {
			return l.saved.save(l.cursors, l.scanner, l.saved.from, l.telling.upTo())
		}
		if err := l.save(l.held.at, l.held.mark); err != nil {
			return err
		}
		l.held.waits = false
		if !waited {
			return nil
		}
	}
}

// save writes what of a standing is not on disk yet, the mark last.
func (l *lines) save(at map[string]journal.Cursor, m ledger.Mark) error {
	if l.live.lost || l.backlog.lost {
		// The cursor that is saved now lies before lines whose outcomes the mark on disk has
		// passed. A crash from here on: the next start reads the whole ledger.
		if err := l.saved.save(l.cursors, l.scanner, ledger.Mark{}, l.telling.upTo()); err != nil {
			return err
		}
	}
	for _, lane := range l.both() {
		cur := at[lane.name]
		if cur == lane.saved && !lane.lost && !lane.unsure || cur.Sum == "" { // without a sum it is as it was read
			continue
		}
		// A crash here: the cursor on disk lags. At start the ledger's tail tells which
		// lines ahead of it are finished.
		if err := journal.SaveCursor(l.cursors, l.scanner, lane.name, cur); err != nil {
			return err
		}
		lane.saved, lane.lost, lane.unsure = cur, false, false
	}
	// A crash here: the mark on disk lags behind the cursors. The next start reads more of
	// the ledger than it needs.
	return l.saved.save(l.cursors, l.scanner, m, l.telling.upTo())
}

// save writes the marks to a scanner's file, if they are not on disk yet.
//
// A crash before: the next start tells once more what was told since the last save.
func (m *marks) save(dir journal.Folder, scanner string, from ledger.Mark, told *ledger.Mark) error {
	same := told == m.told || told != nil && m.told != nil && *told == *m.told
	if from == m.from && same {
		return nil
	}
	if err := ledger.SaveMarks(dir, markFile(scanner), from, told); err != nil {
		return err
	}
	*m = marks{from, told}
	return nil
}
