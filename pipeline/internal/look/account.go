// SPDX-License-Identifier: Apache-2.0

package look

import (
	"slices"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// account counts a file at each scanner. It returns false, and counts nothing,
// when the file is not accounted for at one of them.
func (c *verify) account(path string, st watch.Stat) bool {
	if c.files.settling(path) {
		c.proof.Waiting += int64(len(c.reach))
		return true
	}
	e, ok := c.files.known(path, st)
	if !ok {
		return false
	}
	how := make([]string, len(c.reach))
	for i, r := range c.reach {
		if how[i] = c.outcome(r, e.At); how[i] == "" {
			return false
		}
	}
	for _, h := range how {
		c.count(h)
	}
	return true
}

func (c *verify) count(outcome string) {
	switch outcome {
	case sample.Done:
		c.proof.Done++
	case sample.Gone:
		c.proof.Gone++
	case sample.Skipped:
		c.proof.Skipped++
	case sample.Dead:
		c.proof.Dead++
	default:
		c.proof.Waiting++
	}
}

// lost reports whether a scanner has no outcome for a line, and never will.
func (c *verify) lost(at sample.At) bool {
	return slices.ContainsFunc(c.reach, func(r reach) bool { return c.outcome(r, at) == "" })
}

// waiting stands beside the outcomes.
const waiting = "waiting"

// outcome returns what became of a line at a scanner: an outcome, waiting, or ""
// when neither is certain.
func (c *verify) outcome(r reach, at sample.At) string {
	if o, ok := c.ended[outcomeKey{r.scanner, at}]; ok {
		return o
	}
	switch {
	case c.hurt(at):
		return "" // behind the cursor it may be, but nobody could read it
	case at.Pos.Before(r.cursor[at.Lane]):
		return sample.Done
	case at.Segment > c.kept[at.Lane].newest || c.kept[at.Lane].numbers[at.Segment]:
		return waiting
	case r.cursor[at.Lane] == (journal.Pos{}) && at.Segment < c.kept[at.Lane].oldest:
		return sample.Done // a new scanner begins at the oldest segment that is kept
	}
	return "" // its segment is gone, and the cursor is not past it
}
