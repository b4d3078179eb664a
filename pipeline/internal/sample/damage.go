// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"fmt"
	"strings"

	"github.com/certpush/certpush/pipeline/journal"
)

// Damage is the place of journal lines that nobody can read. The index knows
// their files, so no sweep would find them: it is made to forget them first.
//
// A consumer, perhaps in another process, tells it by an empty file beside the
// cursors, before its cursor passes the place. The producer removes the file
// once the index has forgotten:
//
//	damaged-LANE-SEGMENT-OFFSET-SEGMENT-OFFSET      from, to; decimal
type Damage struct {
	At    At
	After journal.Pos
}

// Holds reports whether the line at a place is one of those.
func (d Damage) Holds(at At) bool {
	return at.Lane == d.At.Lane && !at.Pos.Before(d.At.Pos) && at.Pos.Before(d.After)
}

const DamagePrefix = "damaged-"

func (d Damage) Name() string {
	return fmt.Sprintf("%s%s-%d-%d-%d-%d", DamagePrefix, d.At.Lane, d.At.Segment, d.At.Offset, d.After.Segment, d.After.Offset)
}

func ParseDamage(name string) (d Damage, ok bool) {
	rest, is := strings.CutPrefix(name, DamagePrefix)
	lane, rest, _ := strings.Cut(rest, "-")
	n, err := fmt.Sscanf(rest, "%d-%d-%d-%d", &d.At.Segment, &d.At.Offset, &d.After.Segment, &d.After.Offset)
	d.At.Lane = lane
	return d, is && err == nil && n == 4 && d.Name() == name
}
