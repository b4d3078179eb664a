// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"fmt"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

const (
	mostUntold = 64 // so many parts of a lane are told apart; what comes after joins the last one
	mostSaid   = 10 // so many unreadable lines are logged one by one, until a while passes without any
)

// badLines are the lines of a lane that nobody can read. A log of another program may
// have millions of them, and each costs as little as a good line: nothing is written
// before the cursors are saved. lines.mu guards them.
type badLines struct {
	untold []sample.Damage // told to the producer before a cursor on disk passes them
	said   int             // lines that were logged one by one
	more   int64           // lines that were not
	since  bool            // there was one since the last call of quiet
}

// add notes that the lines from one place to another cannot be read.
func (b *badLines) add(lane string, from, to journal.Pos) {
	n := len(b.untold)
	if n > 0 && (b.untold[n-1].After == from || n >= mostUntold) {
		last := &b.untold[n-1]
		if from.Before(last.At.Pos) { // of a gap, whose reader is behind
			last.At.Pos = from
		}
		if last.After.Before(to) {
			last.After = to
		}
		return
	}
	b.untold = append(b.untold, sample.Damage{At: sample.At{Lane: lane, Pos: from}, After: to})
}

// say reports whether the next line is logged by itself.
func (b *badLines) say() bool {
	b.since = true
	if b.said < mostSaid {
		b.said++
		return true
	}
	b.more++
	return false
}

// quiet returns how many lines were not logged one by one, when a while has passed
// without any.
func (b *badLines) quiet() (more int64) {
	if b.since {
		b.since = false
		return 0
	}
	more = b.more
	b.said, b.more = 0, 0
	return more
}

// unreadable passes over a line that cannot be read.
func (l *lines) unreadable(lane *lane, line journal.Line, err error) {
	l.m.badLines.WithLabelValues(lane.name).Inc()
	ahead := lane.r.Ahead()
	l.mu.Lock()
	say := lane.bad.say()
	lane.bad.add(lane.name, line.At, line.After)
	lane.ahead = ahead
	if !line.Long { // otherwise the place after it lies within the line: no cursor names that
		lane.read = line.Behind()
	}
	l.mu.Unlock()
	switch {
	case say && lane.r.Foreign():
		l.log.Error("a line of another program's log names no file and is passed over: append the file's absolute path once more", "lane", lane.name, "file", lane.r.Name(), "segment", line.At.Segment, "offset", line.At.Offset, "line", fmt.Sprintf("%.200q", line.Text), "error", err)
	case say:
		l.log.Error("unreadable journal line passed over; its file is journaled again by a sweep: look at the disk", "lane", lane.name, "segment", line.At.Segment, "offset", line.At.Offset, "error", err)
	}
}

// missing notes that lines are not there any more.
func (l *lines) missing(lane *lane, from, to journal.Pos) {
	if lane.r.Foreign() {
		l.log.Error("another program's log is not to be found any more from the place on that was read to; what it held behind that is not pushed: let it keep the last rotated log uncompressed, and append those paths once more", "lane", lane.name, "from", from.String(), "to", to.String())
	} else {
		l.log.Error("journal lines are missing; their files are journaled again by a sweep: let certpush alone delete segments, and look at the disk", "lane", lane.name, "from", from.String(), "to", to.String())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lane.bad.add(lane.name, from, to)
}

// tellDamage writes files for the producer, which may be another process. Until that
// succeeds no cursor on disk passes the damage.
func (l *lines) tellDamage() error {
	for _, lane := range l.both() {
		l.mu.Lock()
		all := lane.bad.untold
		lane.bad.untold = nil
		l.mu.Unlock()
		err := store.SaveDamage(l.cursors, all...)
		if err != nil {
			l.mu.Lock()
			lane.bad.untold = append(all, lane.bad.untold...)
			l.mu.Unlock()
		}
		switch lane.untold.Note(err) {
		case condition.Began:
			l.log.Error("damage of the journal cannot be told to the producer; no cursor is saved meanwhile: make room or mend the disk", "at", all[0].At.String(), "error", err)
		case condition.Ended:
			l.log.Info("damage of the journal is told to the producer", "at", all[0].At.String())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sayMore logs how many unreadable lines were not logged one by one, when there are no
// more of them.
func (l *lines) sayMore() {
	for _, lane := range l.both() {
		l.mu.Lock()
		more := lane.bad.quiet()
		l.mu.Unlock()
		if more > 0 {
			l.log.Error("more lines were passed over or skipped after those that were named: look at that file", "lane", lane.name, "lines", more, "file", lane.r.Name())
		}
	}
}

// sayOutside logs that a line names a file that lies in no tree, as long as there are few
// of them.
func (l *lines) sayOutside(out sample.Outcome) {
	l.mu.Lock()
	say := l.lane(out.At.Lane).bad.say()
	l.mu.Unlock()
	if say {
		l.log.Warn("a line names a file outside every tree, and the file is skipped: name its tree in the configuration, or correct the path", "path", out.Path, "at", out.At.String())
	}
}
