// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"container/list"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// lane reads one lane of the journal for one consumer. Its cursor is at the oldest line
// that is handed out and not finished, even if many lines after it are finished.
type lane struct {
	name    string
	queue   chan *push
	refused condition.Condition // the journal cannot be read
	lost    bool                // the cursor was missing, could not be read, or did not fit the journal
	from    ledger.Mark         // the ledger from here on has the outcomes of the lines in left

	// Only the goroutine that follows the lane has it.
	r      *journal.Reader
	reader func(from journal.Pos) (*journal.Reader, error) // makes another

	// Only the goroutine that saves the cursors has them.
	saved  journal.Cursor
	untold condition.Condition // damage cannot be told to the producer
	unsure bool                // the cursor's file is to be written anew, even if the cursor did not move

	// Guarded by lines.mu.
	open   *list.List     // of *push, in the lane's order: handed out and not finished
	read   journal.Cursor // all lines before it are handed out
	ahead  int64          // durable lines from read on
	bad    badLines
	left   ledger.Finished // lines ahead of the cursor that were finished before the start
	floods floods          // lines that were passed over
}

// newLane returns a lane that begins at its cursor, or at the oldest segment if the
// cursor is missing, cannot be read, or does not fit the journal. tail tells how far the
// lane may be read. It returns an error where want of descriptors, memory or rights keeps
// us from the cursor: that is no damage.
func newLane(name, scanner string, queue int, dirs *store.Folders, tail journal.Tail, log *slog.Logger) (*lane, error) {
	l := &lane{name: name, queue: make(chan *push, queue), open: list.New(), floods: newFloods(nil)}
	l.reader = func(from journal.Pos) (*journal.Reader, error) {
		return journal.NewReader(dirs.Journal, journal.Base(name), from, tail, log)
	}
	cur, err := journal.LoadCursor(dirs.Cursors, scanner, name)
	switch {
	case err == nil:
		if cur, err = l.fit(cur, dirs, log); err != nil {
			return nil, err
		}
	case store.Hinders(err):
		return nil, err
	case !errors.Is(err, os.ErrNotExist):
		log.Error("cursor cannot be read; reading begins at the oldest segment, and the ledger tells what is finished", "file", scanner+"."+name, "error", err)
		fallthrough
	default:
		l.lost = true
	}
	if l.lost {
		cur = journal.Cursor{Sum: journal.SumOf(nil)}
	}
	l.read, l.saved = cur, cur
	if l.r, err = l.reader(cur.Pos); err != nil {
		return nil, fmt.Errorf("read lane %s: %w", name, err)
	}
	return l, nil
}

// fit holds a cursor against the journal. It returns the cursor with the hash of the line
// before it. If the cursor does not fit, lost is set.
//
// If the journal ends before the cursor, the lines between were lost: that is told as
// damage. So a producer that starts later knows these places too, and gives none twice.
func (l *lane) fit(cur journal.Cursor, dirs *store.Folders, log *slog.Logger) (journal.Cursor, error) {
	base := journal.Base(l.name)
	fit, err := cur.Fit(dirs.Journal, base)
	if err == nil && !fit.OK && fit.Foreign { // another program cut it short: its old content may lie beside it
		if err = journal.Renumber(dirs.Journal, base, cur.Segment); err == nil {
			fit, err = cur.Fit(dirs.Journal, base)
		}
	}
	if err != nil {
		return cur, err
	}
	l.unsure = cur.Sum == "" && fit.Sum != "" // the old form is written anew
	cur.Sum = fit.Sum
	if fit.OK {
		return cur, nil
	}
	l.lost = true
	log.Error("cursor does not fit the journal; reading begins at the oldest segment, and the ledger tells what is finished: see who restored or changed the journal", "lane", l.name, "cursor", cur.String())
	if fit.End == (journal.Pos{}) {
		return cur, nil
	}
	return cur, store.SaveDamage(dirs.Cursors, sample.Damage{At: sample.At{Lane: l.name, Pos: fit.End}, After: cur.Pos})
}

// front returns the oldest push that is not finished, or nil. The caller holds lines.mu.
func (l *lane) front() *push {
	late := l.floods.front()
	if e := l.open.Front(); e != nil && (late == nil || e.Value.(*push).at.Before(late.at.Pos)) {
		return e.Value.(*push)
	}
	return late
}

// finished notes that a push has its outcome. The caller holds lines.mu.
func (l *lane) finished(p *push) {
	l.open.Remove(p.place) // it does nothing to that of a gap
	l.floods.finished(p)
}

// cursor returns the place before which all lines are finished. The caller holds
// lines.mu.
func (l *lane) cursor() journal.Cursor {
	at := l.read
	if p := l.front(); p != nil {
		at = journal.Cursor{Pos: p.at.Pos, Sum: p.sum}
	}
	if g, _, ok := l.floods.first(); ok && g.Before(at.Pos) {
		at = g
	}
	return at
}

// readBackFrom returns the place in the ledger at which a start must begin to read for
// this lane. ok is false if no line ahead of the cursor is finished or open. The caller
// holds lines.mu.
func (l *lane) readBackFrom() (m ledger.Mark, ok bool) {
	// Even if the lines in left were read already: until the cursor has passed them, the
	// next start needs them again.
	if l.cursor().Before(l.left.Until) {
		return l.from, true
	}
	p := l.front()
	if g, m, ok := l.floods.first(); ok && (p == nil || g.Before(p.at.Pos)) {
		return m, true
	}
	if p != nil {
		return p.mark, true
	}
	return ledger.Mark{}, false
}

// waiting returns how many samples of the lane have no outcome. The caller holds
// lines.mu.
func (l *lane) waiting() int64 {
	return l.ahead + int64(l.open.Len()) + l.floods.open() + l.floods.passed()
}

// lanes are the two lanes of a consumer. They do not change from newLines on.
type lanes struct{ live, backlog *lane }

func (l *lanes) both() []*lane { return []*lane{l.live, l.backlog} }

func (l *lanes) lane(name string) *lane {
	if name == journal.Backlog {
		return l.backlog
	}
	return l.live
}
