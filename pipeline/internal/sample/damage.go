// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"fmt"
	"strings"

	"github.com/certpush/certpush/pipeline/journal"
)

// Damage is a part of a lane whose lines cannot be read. The index knows their files,
// so no sweep would find them: the index must forget them first.
//
// A consumer, which may be another process, tells it by an empty file beside the
// cursors, before its cursor passes the place. The producer removes the file when the
// index has forgotten those files:
//
//	damaged-LANE-SEGMENT-OFFSET-SEGMENT-OFFSET      from, to; decimal
type Damage struct {
	At    At          // where the first of the lines begins
	After journal.Pos // where the last one ends
}

// Holds reports whether the line that begins at a place is one of these lines.
func (d Damage) Holds(at At) bool {
	return at.Lane == d.At.Lane && !at.Pos.Before(d.At.Pos) && at.Pos.Before(d.After)
}

// DamagePrefix begins the name of each file that tells damage.
const DamagePrefix = "damaged-"

// Name returns the name of the file that tells d.
func (d Damage) Name() string {
	return fmt.Sprintf("%s%s-%d-%d-%d-%d", DamagePrefix, d.At.Lane, d.At.Segment, d.At.Offset, d.After.Segment, d.After.Offset)
}

// ParseDamage reads such a name. ok is false for any other name.
func ParseDamage(name string) (d Damage, ok bool) {
	rest, is := strings.CutPrefix(name, DamagePrefix)
	lane, rest, _ := strings.Cut(rest, "-")
	n, err := fmt.Sscanf(rest, "%d-%d-%d-%d", &d.At.Segment, &d.At.Offset, &d.After.Segment, &d.After.Offset)
	d.At.Lane = lane
	return d, is && err == nil && n == 4 && d.Name() == name
}
