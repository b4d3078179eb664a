// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"math"
	"strings"

	"github.com/certpush/certpush/pipeline/journal"
)

// damage is the place of journal lines that nobody can read. The index knows
// their files, so no sweep would find them: it is made to forget them first.
//
// A consumer, perhaps in another process, tells it by an empty file beside the
// cursors, before its cursor passes the place. The producer removes the file
// once the index has forgotten:
//
//	damaged-LANE-SEGMENT-OFFSET-SEGMENT-OFFSET      from, to; decimal
type damage struct {
	at    At
	after journal.Pos
}

const damagePrefix = "damaged-"

// maxDamage is how many places are told one by one. A lane with more of them is
// damaged from there to its end.
const maxDamage = 1000

func (d damage) name() string {
	return fmt.Sprintf("%s%s-%d-%d-%d-%d", damagePrefix, d.at.Lane, d.at.Segment, d.at.Offset, d.after.Segment, d.after.Offset)
}

func parseDamage(name string) (d damage, ok bool) {
	rest, is := strings.CutPrefix(name, damagePrefix)
	lane, rest, _ := strings.Cut(rest, "-")
	n, err := fmt.Sscanf(rest, "%d-%d-%d-%d", &d.at.Segment, &d.at.Offset, &d.after.Segment, &d.after.Offset)
	d.at.Lane = lane
	return d, is && err == nil && n == 4 && d.name() == name
}

// save leaves the file in dir, durably.
func (d damage) save(dir journal.Folder) error {
	all, err := loadDamage(dir)
	if err != nil {
		return err
	}
	for _, have := range all {
		if have.at.Lane == d.at.Lane && !d.at.Pos.Before(have.at.Pos) && !have.after.Before(d.after) {
			return nil
		}
	}
	if len(all) >= maxDamage {
		d.after = journal.Pos{Segment: math.MaxUint64}
	}
	return journal.SaveText(dir, d.name(), "")
}

// loadDamage lists what was told.
func loadDamage(dir journal.Folder) ([]damage, error) {
	entries, err := dir.List()
	if err != nil {
		return nil, fmt.Errorf("list damage: %w", err)
	}
	var all []damage
	for _, e := range entries {
		if d, ok := parseDamage(e.Name()); ok {
			all = append(all, d)
		}
	}
	return all, nil
}
