// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// Bounds say how much of the ledger stays that no mark needs.
type Bounds struct {
	Keep    int   // sealed segments of outcomes, and of failed tries
	Max     int64 // bytes of each of them; negative: no bound
	MinFree int64 // with less free space and a little more, none stays; negative: no bound

	// Listed reports whether a dead letter is on the list still: then its segment stays,
	// whatever the bound or the room. nil: each is.
	Listed func(sample.Outcome) bool
	// First hears each second whether room is short, and reports whether all has gone that
	// goes before the ledger. nil: nothing does.
	First func(short bool) (gone bool)
}

// spares reports whether a segment tells of a dead letter that is on the list. Neither a
// bound nor want of room deletes it. If it cannot be read, it is taken for one that does.
func (b Bounds) spares(d journal.Folder, name string) bool {
	found := errors.New("found")
	err := journal.Find(context.Background(), d, journal.Segment{Name: name}, sample.AppendText([]byte(`"outcome":`), sample.Dead), func(_ int64, line []byte) error {
		o, err := sample.ParseOutcome(line)
		if err != nil || o.Outcome != sample.Dead || b.Listed != nil && !b.Listed(o) {
			return nil // a line that cannot be read is on no list
		}
		return found
	})
	return err != nil
}

// before is how much more than min_free is short for the ledger: old outcomes go before
// the intake stops.
const before = 128 << 20

// short reports whether old outcomes are to make room.
func (l *Ledger) short() bool {
	free, err := l.Dir.Free()
	return err == nil && l.bounds.MinFree >= 0 && free < l.bounds.MinFree+before
}

// makeRoom looks at the free space. If room begins to be short, old segments go, once all
// has gone that goes before them; later ones go each minute. It returns whether they went
// for want of room: the next call takes that as was.
func (l *Ledger) makeRoom(was bool, marks func() []Mark) bool {
	is := l.short()
	gone := l.bounds.First == nil || l.bounds.First(is)
	switch {
	case is && !was && gone && l.short():
		l.tell(l.prune(0, 0, marks()))
		l.log.Warn("room is short; old segments of the ledger are deleted, but for those that a cursor or a dead letter needs: free some space on the disk of the state", "folder", l.Dir.Path())
		return true
	case !is && was:
		l.log.Info("there is room for the ledger again", "folder", l.Dir.Path())
		return false
	}
	return was
}
