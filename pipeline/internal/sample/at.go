// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"strings"

	"github.com/certpush/certpush/pipeline/journal"
)

var Lanes = []string{journal.Live, journal.Backlog}

// At is a line's position in the journal.
type At struct {
	Lane string
	journal.Pos
}

// String is the text form, LANE:SEGMENT:OFFSET.
func (a At) String() string { return a.Lane + ":" + a.Pos.String() }

func ParseAt(s string) (At, bool) {
	lane, pos, _ := strings.Cut(s, ":")
	p, err := journal.ParsePos(pos)
	return At{lane, p}, err == nil && (lane == journal.Live || lane == journal.Backlog)
}
