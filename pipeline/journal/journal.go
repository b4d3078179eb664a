// SPDX-License-Identifier: Apache-2.0

// Package journal keeps lines that survive.
//
// It promises: when Append returns without an error, its lines are on disk, in order.
// They stay there until a caller that knows every cursor prunes them.
//
// Invariants:
//
//  1. A series is one folder's segments of one base name. The state of a
//     segment is its file name: BASE is active and is appended to,
//     BASE.YYYYMMDD-HHMM[_NNNNNN].log is sealed and never written again.
//  2. Sealed names sort in the order of cutting, whatever the clock does.
//  3. A segment's number stands in its first line, and each new segment has a higher
//     one. Cursors name segments by it. (A series without headers has no numbers.)
//  4. Readers get only durable lines, so no cursor is ever ahead of the journal.
//  5. Only the holder of the producer's lock truncates, cuts and prunes.
//  6. After a failed write or sync the segment is cut back to its durable lines,
//     and sealed before the next line.
//
// Goroutines: Lanes.Run has one that hears of appends; it ends before Run returns.
// Everything else runs in the goroutine of its caller. Any goroutine may call the
// methods of a Series; a Reader belongs to one. Series.turn lets one goroutine at a time
// commit, cut or prune. gathering.mu guards the batch that gathers lines, published.mu
// the place before which all is durable; nobody holds them during I/O.
//
// The package deals in lines. What a line means is not its business.
package journal

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Pos is a place in a series: a segment's number and a byte offset in it.
type Pos struct {
	Segment uint64
	Offset  int64
}

// String returns the text form, SEGMENT:OFFSET.
func (p Pos) String() string {
	return strconv.FormatUint(p.Segment, 10) + ":" + strconv.FormatInt(p.Offset, 10)
}

// Before reports whether p lies before q.
func (p Pos) Before(q Pos) bool {
	return p.Segment < q.Segment || p.Segment == q.Segment && p.Offset < q.Offset
}

// ParsePos reads the text form of a Pos.
func ParsePos(s string) (Pos, error) {
	seg, off, ok := strings.Cut(s, ":")
	n, err1 := strconv.ParseUint(seg, 10, 64)
	o, err2 := strconv.ParseInt(off, 10, 64)
	if !ok || err1 != nil || err2 != nil || o < 0 {
		return Pos{}, fmt.Errorf("parse position %q: want SEGMENT:OFFSET", s)
	}
	return Pos{n, o}, nil
}

// The lanes and their base names.
const (
	Live    = "live"
	Backlog = "backlog"
)

// Base returns the name of a lane's active segment.
func Base(lane string) string {
	if lane == Backlog {
		return "backlog.log"
	}
	return "monitor.log"
}

// MaxLine is the longest line, in bytes with its newline, that a reader returns whole.
// A longer one is unreadable. A path of 4,096 bytes needs 25 KiB at most.
const MaxLine = 1 << 20

// ErrLocked says that another process holds the folder for the same half.
var ErrLocked = errors.New("held by another process")

// Config says where a series lies and when its segments are cut.
type Config struct {
	Disk    Disk // nil: OS
	Dir     string
	Base    string                           // name of the active segment
	Lane    string                           // written into each header; empty: segments have no header
	First   uint64                           // number of the first segment in an empty folder; 0: 1
	CutSize int64                            // bytes; before lines that would make the segment longer, it is cut
	Spare   func(d Folder, name string) bool // whether a sealed segment is kept although there are more bytes than may be; nil: none is
	Sync    time.Duration                    // the least time between two fsyncs; 0: the next may follow at once
}
