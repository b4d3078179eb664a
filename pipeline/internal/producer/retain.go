// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"strings"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// Pruner deletes journal segments that nobody needs any more.
type Pruner struct {
	Lanes    *journal.Lanes
	Cursors  journal.Folder
	Scanners []config.Scanner // their cursors hold segments back
	Half     config.Half
	Max      int64                         // bytes of the finished segments of each lane that stay at most
	Marks    func() map[string]journal.Pos // for each lane, the place up to which the index on disk has it
	Log      *slog.Logger
}

// Prune deletes the sealed segments that are behind every cursor and behind the index's
// mark on disk; the newest keep of them stay. It logs errors and keeps the segments.
func (p Pruner) Prune(keep int) {
	marks := p.Marks()
	for _, lane := range sample.Lanes {
		floor, err := cursorFloor(p.Cursors, lane, p.Scanners, p.Half)
		if err != nil {
			continue // a scanner has no cursor yet: keep all
		}
		if _, err := p.Lanes.Lane(lane).Prune(keep, p.Max, journal.Before(min(floor, marks[lane].Segment))); err != nil && !errors.Is(err, os.ErrClosed) {
			p.Log.Error("segments cannot be pruned; they are kept", "lane", lane, "error", err)
		}
	}
}

// cursorFloor returns the oldest segment of a lane that a scanner still needs. An error
// means that no segment may be pruned: a cursor is missing or cannot be read.
func cursorFloor(dir journal.Folder, lane string, scanners []config.Scanner, half config.Half) (uint64, error) {
	at, err := cursorPlace(dir, lane, scanners, half)
	return at.Segment, err
}

// cursorPlace returns the oldest cursor of a lane. A producer alone may not know the
// scanners: then every cursor in the folder counts. It is an error if one is missing or
// cannot be read.
func cursorPlace(dir journal.Folder, lane string, scanners []config.Scanner, half config.Half) (journal.Pos, error) {
	var names []string
	for _, s := range scanners {
		names = append(names, s.Name)
	}
	if half == config.ProducerOnly {
		all, err := store.CursorFiles(dir, lane)
		if err != nil || len(all) == 0 {
			return journal.Pos{}, fs.ErrNotExist
		}
		names = nil
		for _, file := range all {
			names = append(names, strings.TrimSuffix(file, "."+lane))
		}
	}
	floor := journal.Pos{Segment: math.MaxUint64}
	for _, name := range names {
		at, err := journal.LoadCursor(dir, name, lane)
		if err != nil {
			return journal.Pos{}, err
		}
		if at.Before(floor) {
			floor = at.Pos
		}
	}
	return floor, nil
}
