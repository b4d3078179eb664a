// SPDX-License-Identifier: Apache-2.0

// Package journal keeps lines that survive.
//
// It promises: a line that Append returned for is on disk, in order, and stays
// there until a caller who knows every cursor prunes it.
//
// Invariants:
//
//  1. A series is one folder's segments of one base name. The state of a
//     segment is its file name: BASE is active and is appended to,
//     BASE.YYYYMMDD-HHMM[_NNNNNN].log is sealed and never written again.
//  2. Sealed names sort in the order of cutting, whatever the clock does.
//  3. A segment's number is in its first line and only grows; it is what
//     cursors name. (A series without headers has no numbers.)
//  4. Readers are handed durable lines only, so no cursor is ever ahead of the
//     journal.
//  5. Only the holder of the producer's lock truncates, cuts and prunes.
//  6. After a failed write or sync the segment is cut back to what was durable,
//     and sealed before the next line.
//
// The package deals in lines, not in what they say.
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

// String is the text form, SEGMENT:OFFSET.
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

// MaxLine is the longest line, in bytes with its newline, that a reader hands
// out; a longer one is unreadable. A path of 4,096 bytes needs 25 KiB at most.
const MaxLine = 1 << 20

// ErrLocked says that another process holds the folder for the same half.
var ErrLocked = errors.New("held by another process")

// Config says where a series lies and when its segments are cut.
type Config struct {
	Disk    Disk // nil: OS
	Dir     string
	Base    string        // name of the active segment
	Lane    string        // written into each header; empty: segments have no header
	First   uint64        // number of the first segment in an empty folder; 0: 1
	CutSize int64         // bytes; a segment that has reached it is cut before the next line
	Sync    time.Duration // least time between two fsyncs; 0: again as soon as the last returned
}
