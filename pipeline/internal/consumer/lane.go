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
	"github.com/certpush/certpush/pipeline/journal"
)

// lane reads one lane of the journal for one consumer. Its cursor is at the oldest line
// that is handed out and not finished, even if many lines after it are finished.
type lane struct {
	name    string
	file    string // the name of the cursor's file
	queue   chan *push
	refused condition.Condition // the journal cannot be read
	from    ledger.Mark         // the ledger from here on has the outcomes of the lines in left

	// Only the goroutine that follows the lane has it.
	r *journal.Reader

	// Only the goroutine that saves the cursors has them.
	saved journal.Pos
	lost  bool // the cursor's file is missing or could not be read

	// Guarded by lines.mu.
	open  *list.List      // of *push, in the lane's order: handed out and not finished
	read  journal.Pos     // all lines before it are handed out
	ahead int64           // durable lines from read on
	left  ledger.Finished // lines ahead of the cursor that were finished before the start
}

// newLane returns a lane that begins at its cursor, or at the oldest segment if the
// cursor is missing or cannot be read. tail tells how far the lane may be read.
func newLane(name, scanner string, queue int, journalDir, cursors journal.Folder, tail journal.Tail, log *slog.Logger) (*lane, error) {
	l := &lane{name: name, file: scanner + "." + name, queue: make(chan *push, queue), open: list.New()}
	cur, err := journal.LoadCursor(cursors, l.file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Error("cursor cannot be read; reading begins at the oldest segment, and the ledger tells what is finished", "file", l.file, "error", err)
	}
	l.read, l.saved, l.lost = cur, cur, err != nil
	if l.r, err = journal.NewReader(journalDir, journal.Base(name), cur, tail, log); err != nil {
		return nil, fmt.Errorf("read lane %s: %w", name, err)
	}
	return l, nil
}

// front returns the oldest push that is not finished, or nil. The caller holds lines.mu.
func (l *lane) front() *push {
	if e := l.open.Front(); e != nil {
		return e.Value.(*push)
	}
	return nil
}

// cursor returns the place before which all lines are finished. The caller holds
// lines.mu.
func (l *lane) cursor() journal.Pos {
	if p := l.front(); p != nil {
		return p.at.Pos
	}
	return l.read
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
	if p := l.front(); p != nil {
		return p.mark, true
	}
	return ledger.Mark{}, false
}

// waiting returns how many samples of the lane have no outcome. The caller holds
// lines.mu.
func (l *lane) waiting() int64 { return l.ahead + int64(l.open.Len()) }
