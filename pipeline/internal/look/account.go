// SPDX-License-Identifier: Apache-2.0

package look

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// account counts a file once for each scanner. If one of them has neither an outcome
// for it nor a line that waits, it counts nothing and returns false.
func (c *verify) account(ctx context.Context, u candidate) bool {
	if c.files.settling(u.path) {
		c.proof.Waiting += int64(len(c.reach))
		return true
	}
	e, ok := c.files.known(u.path, u.stat)
	return ok && c.accountBy(ctx, u, e)
}

// accountAll accounts for files of one folder. It keeps those that it cannot account for:
// they are looked at again.
func (c *verify) accountAll(ctx context.Context, tree int, f watch.Folder, files []watch.Entry) error {
	type known struct {
		candidate
		e  index.Entry
		ok bool
	}
	all := make([]known, 0, len(files)) // the index is not held while files are read
	err := c.files.entries(f, files, func(file watch.Entry, e index.Entry, ok bool) {
		all = append(all, known{candidate{tree: tree, path: filepath.Join(f.Path, file.Name), stat: file.Stat}, e, ok})
	})
	if err != nil {
		return err
	}
	for _, k := range all {
		switch {
		case c.files.settling(k.path):
			c.proof.Waiting += int64(len(c.reach))
		case !k.ok || !c.accountBy(ctx, k.candidate, k.e):
			c.unknown = append(c.unknown, k.candidate)
		}
	}
	return nil
}

// accountBy counts a file by the outcomes of its line. It returns false if one is missing.
func (c *verify) accountBy(ctx context.Context, u candidate, e index.Entry) bool {
	how := make([]string, len(c.reach))
	for i, r := range c.reach {
		if how[i] = c.outcome(r, e.At); how[i] == "" {
			return false
		}
	}
	differs := make([]bool, len(how))
	if c.read {
		differs = c.differs(ctx, u, e.At, how)
	}
	for i, h := range how {
		if differs[i] {
			c.tellUnlike(u.path, u.stat, c.reach[i].scanner)
		} else {
			c.count(h)
		}
	}
	return true
}

// takenBack counts what is taken back of the verdicts of the scanners that are asked for.
// From a wrong canary on something on disk says so, until the verdicts are given again: a
// consumer writes what is taken back before it clears the word of the wrong canary, so
// this reads that word first.
func (c *verify) takenBack() error {
	for _, r := range c.reach {
		lost, err := store.LoadLost(c.a.cursors, r.scanner)
		if err != nil {
			return err
		}
		c.proof.TakenBack += lost
	}
	all, err := store.LoadTakenBack(c.a.cursors)
	for _, t := range all {
		if slices.ContainsFunc(c.reach, func(r reach) bool { return r.scanner == t.Scanner }) {
			c.proof.TakenBack++
		}
	}
	return err
}

// count counts one outcome; any other text counts as waiting.
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

// lost reports whether a line has no outcome at some scanner, and will never get one.
func (c *verify) lost(at sample.At) bool {
	return slices.ContainsFunc(c.reach, func(r reach) bool { return c.outcome(r, at) == "" })
}

// waiting is what outcome returns for a line that has no outcome yet and will get one.
const waiting = "waiting"

// outcome returns what became of a line at a scanner: an outcome, waiting, or "" if
// neither is certain.
func (c *verify) outcome(r reach, at sample.At) string {
	if o, ok := c.ended[outcomeKey{r.scanner, at}]; ok {
		return o
	}
	switch {
	case c.hurt(at):
		return "" // it may be behind the cursor, but the consumer could not read it
	case at.Pos.Before(r.cursor[at.Lane]):
		return sample.Done
	case at.Segment > c.kept[at.Lane].newest || c.kept[at.Lane].numbers[at.Segment]:
		return waiting
	case r.cursor[at.Lane] == (journal.Pos{}) && at.Segment < c.kept[at.Lane].oldest:
		return sample.Done // a new scanner begins at the oldest segment that is there
	}
	return "" // its segment is pruned, but the cursor is not past it
}
