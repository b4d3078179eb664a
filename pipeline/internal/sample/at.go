// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"strings"

	"github.com/certpush/certpush/pipeline/journal"
)

// Lanes are the names of both lanes.
var Lanes = []string{journal.Live, journal.Backlog}

// At is the place of a line in the journal.
type At struct {
	Lane string
	journal.Pos
}

// String returns LANE:SEGMENT:OFFSET.
func (a At) String() string { return a.Lane + ":" + a.Pos.String() }

// ParseAt reads the text of At.String. The bool is false for any other text.
func ParseAt(s string) (At, bool) {
	lane, pos, _ := strings.Cut(s, ":")
	p, err := journal.ParsePos(pos)
	return At{lane, p}, err == nil && (lane == journal.Live || lane == journal.Backlog)
}
