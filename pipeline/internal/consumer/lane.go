// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"container/list"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/journal"
)

// lane is one consumer's reading of one lane of the journal. Its cursor is the
// oldest line that was handed out and is not finished, however far the workers
// are ahead of it.
type lane struct {
	name  string
	file  string // of the cursor
	queue chan *push
	from  ledger.Mark // where the ledger tells of the lines in left

	// Of the goroutine that follows the lane.
	r *journal.Reader

	// Of the goroutine that saves cursors.
	saved journal.Pos
	lost  bool // no cursor file could be read

	// Guarded by lines.mu.
	open  *list.List  // of *push, in the lane's order: handed out and not finished
	read  journal.Pos // before it all is handed out
	ahead int64       // durable lines from read on
	left  ledger.Finished
}

// newLane returns a lane that begins at its cursor. tail is the lane's.
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

// front returns the oldest push that is not finished, nil when there is none.
// lines.mu is held.
func (l *lane) front() *push {
	if e := l.open.Front(); e != nil {
		return e.Value.(*push)
	}
	return nil
}

// cursor returns the place before which all is finished. lines.mu is held.
func (l *lane) cursor() journal.Pos {
	if p := l.front(); p != nil {
		return p.at.Pos
	}
	return l.read
}

// readBackFrom returns the place in the ledger that a read-back must begin at for
// this lane; ok is false when nothing ahead of the cursor is finished or open.
// lines.mu is held.
func (l *lane) readBackFrom() (m ledger.Mark, ok bool) {
	// Not only until those are read: the next start needs them again.
	if l.cursor().Before(l.left.Until) {
		return l.from, true
	}
	if p := l.front(); p != nil {
		return p.mark, true
	}
	return ledger.Mark{}, false
}

// waiting returns how many samples of the lane have no outcome. lines.mu is held.
func (l *lane) waiting() int64 { return l.ahead + int64(l.open.Len()) }
