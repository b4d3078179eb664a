// SPDX-License-Identifier: Apache-2.0

package look

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/watch"
)

// DeadLetter is a sample that the consumer of one scanner gave up.
type DeadLetter struct {
	Outcome sample.Outcome `json:"outcome"`
	Again   bool           `json:"again"` // it is journaled once more, and waits
}

// ID is the name by which an operator selects the letter: the sample's id, or for a
// bare path the place of its line.
func (d DeadLetter) ID() string { return cmp.Or(d.Outcome.ID, d.Outcome.At.String()) }

// letterKey identifies a dead letter. A later outcome with the same key replaces it. A
// bare path has no id, so there any later outcome of the path replaces it.
type letterKey struct{ scanner, id, path string }

func keyOf(scanner, id, path string) letterKey {
	if id != "" {
		return letterKey{scanner, id, ""}
	}
	return letterKey{scanner, "", path}
}

// Dead returns the dead letters in the ledger, oldest first: samples whose last outcome
// at a scanner is dead.
func (a *Archive) Dead(ctx context.Context) ([]DeadLetter, error) {
	letters := map[letterKey]*DeadLetter{}
	ids, paths := map[string]int{}, map[string]int{} // how many letters have each id, and each path without an id
	count := func(o sample.Outcome, n int) {
		if o.ID != "" {
			ids[o.ID] += n
		} else {
			paths[o.Path] += n
		}
	}
	dead := sample.AppendText([]byte(`"outcome":`), sample.Dead)
	err := a.recorded(ctx, ledger.Base, query{}, func(text []byte) bool {
		// Few lines have to do with dead letters. Only those are parsed.
		if !bytes.Contains(text, dead) && len(paths) == 0 && ids[sample.IDIn(text)] == 0 {
			return false
		}
		o, err := sample.ParseOutcome(text)
		if err != nil {
			return false
		}
		for _, key := range []letterKey{keyOf(o.Scanner, o.ID, o.Path), keyOf(o.Scanner, "", o.Path)} {
			if old := letters[key]; old != nil {
				count(old.Outcome, -1)
				delete(letters, key)
			}
		}
		if o.Outcome == sample.Dead {
			letters[keyOf(o.Scanner, o.ID, o.Path)] = &DeadLetter{Outcome: o}
			count(o, 1)
		}
		return true
	})
	if err != nil || len(letters) == 0 {
		return nil, err
	}
	// A manual line that is younger than the letter: the sample waits again.
	err = a.lines(ctx, query{keys: [][]byte{[]byte(sample.ByManual)}, needle: sample.AppendText([]byte(`"via":`), sample.ViaManual)}, func(_ sample.At, s sample.Sample) bool {
		for _, key := range []letterKey{keyOf(s.For, s.ID, s.Path), keyOf(s.For, "", s.Path)} {
			if d := letters[key]; d != nil && s.Seen.After(d.Outcome.Time) {
				d.Again = true
			}
		}
		return true
	})
	all := make([]DeadLetter, 0, len(letters))
	for _, d := range letters {
		all = append(all, *d)
	}
	slices.SortFunc(all, func(a, b DeadLetter) int {
		return cmp.Or(a.Outcome.Time.Compare(b.Outcome.Time), cmp.Compare(a.Outcome.Path, b.Outcome.Path), cmp.Compare(a.Outcome.Scanner, b.Outcome.Scanner))
	})
	return all, err
}

// chosen returns the letters that id names, or all of them if id is empty. If id names
// none it returns an error.
func (a *Archive) chosen(ctx context.Context, id string) ([]DeadLetter, error) {
	all, err := a.Dead(ctx)
	if err != nil || id == "" {
		return all, err
	}
	all = slices.DeleteFunc(all, func(d DeadLetter) bool { return d.ID() != id && d.Outcome.At.String() != id })
	if len(all) == 0 {
		return nil, fmt.Errorf("no dead letter has the id %q: see `certpush dead list`", id)
	}
	return all, nil
}

// Retry returns the journal lines by which dead letters are pushed once more, each for
// its scanner alone: the letters that id names, or all if id is empty. It passes over
// letters that wait already. unable counts the letters for which it cannot make a line:
// the old line is pruned, and the file is gone or has changed.
func (a *Archive) Retry(ctx context.Context, id string) (lines [][]byte, unable int, err error) {
	all, err := a.chosen(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	for _, d := range all {
		if d.Again {
			continue
		}
		s, ok, err := a.again(d.Outcome)
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			unable++
			continue
		}
		lines = append(lines, sample.AppendLine(nil, s))
	}
	return lines, unable, nil
}

// Drop returns the outcomes that take the dead letter that id names off the list, for
// good: one for each scanner that gave the sample up.
func (a *Archive) Drop(ctx context.Context, id string) (outs []sample.Outcome, err error) {
	if id == "" {
		return nil, errors.New("name the dead letter to drop: see `certpush dead list`")
	}
	all, err := a.chosen(ctx, id)
	for _, d := range all {
		o := d.Outcome
		outs = append(outs, sample.Outcome{Time: time.Now(), ID: o.ID, Scanner: o.Scanner, Path: o.Path, Size: o.Size, Outcome: sample.Skipped, Reason: sample.ReasonDropped, Tries: o.Tries})
	}
	return outs, err
}

// again returns the sample of the line by which an outcome's sample is pushed once
// more. It has the version of its old line. If that line is pruned or a bare path, it
// has the version of the file as it lies there now. ok is false if the file is gone, or
// is another version than the outcome's.
func (a *Archive) again(o sample.Outcome) (s sample.Sample, ok bool, err error) {
	s, ok, err = a.line(o.At)
	if err != nil {
		return s, false, err
	}
	if !ok || s.Bare() {
		st, err := watch.Lstat(o.Path)
		if err != nil || st.Kind() != "" {
			return s, false, nil
		}
		s = sample.OfFile(o.Path, st.Size, st.Mtime)
		if o.ID != "" && o.ID != s.ID {
			return s, false, nil
		}
	}
	s.Seen, s.Via, s.For = time.Now(), sample.ViaManual, o.Scanner
	return s, true, nil
}
