// SPDX-License-Identifier: Apache-2.0

package pipeline

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
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// DeadLetter is a sample that a scanner's consumer gave up.
type DeadLetter struct {
	Outcome sample.Outcome `json:"outcome"`
	Again   bool           `json:"again"` // it is journaled once more and waits
}

// ID is what an operator names the letter by: the sample's version, or for a
// bare path the place of its line.
func (d DeadLetter) ID() string { return cmp.Or(d.Outcome.ID, d.Outcome.At.String()) }

// letterKey is what a later outcome of the same sample replaces. A bare path has
// no version, so there any later outcome of the path does.
type letterKey struct{ scanner, id, path string }

func keyOf(scanner, id, path string) letterKey {
	if id != "" {
		return letterKey{scanner, id, ""}
	}
	return letterKey{scanner, "", path}
}

// Dead lists the dead letters in the ledger, oldest first: samples whose last
// outcome at a scanner is dead. The errors are those of Why.
func (p *Pipeline) Dead(ctx context.Context) (all []DeadLetter, err error) {
	err = p.look(func(a *archive) error {
		all, err = a.dead(ctx)
		return err
	})
	return all, err
}

func (a *archive) dead(ctx context.Context) ([]DeadLetter, error) {
	letters := map[letterKey]*DeadLetter{}
	ids, paths := map[string]int{}, map[string]int{} // of letters
	count := func(o sample.Outcome, n int) {
		if o.ID != "" {
			ids[o.ID] += n
		} else {
			paths[o.Path] += n
		}
	}
	dead := sample.AppendText([]byte(`"outcome":`), sample.Dead)
	err := a.recorded(ctx, ledger.Base, query{}, func(text []byte) bool {
		// Few lines are about letters: only those are read in full.
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
	// A manual line for one that is younger than its death: it waits again.
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

// chosen returns the letters that id names, or all when it is empty.
func chosen(all []DeadLetter, id string) ([]DeadLetter, error) {
	if id == "" {
		return all, nil
	}
	all = slices.DeleteFunc(all, func(d DeadLetter) bool { return d.ID() != id && d.Outcome.At.String() != id })
	if len(all) == 0 {
		return nil, fmt.Errorf("no dead letter has the id %q: see `certpush dead list`", id)
	}
	return all, nil
}

// Retry journals dead letters once more, each for its scanner alone: the one
// that id names, or all when it is empty. It returns how many now wait, and how
// many of them could not be: their files are gone or have changed, and their
// journal lines are pruned. One that waits already is left alone.
func (p *Pipeline) Retry(ctx context.Context, id string) (queued, unable int, err error) {
	prod, _, _ := p.halves()
	if prod == nil {
		return 0, 0, errNoProducer
	}
	err = p.look(func(a *archive) error {
		all, err := a.dead(ctx)
		if err != nil {
			return err
		}
		if all, err = chosen(all, id); err != nil {
			return err
		}
		var lines [][]byte
		for _, d := range all {
			if d.Again {
				continue
			}
			s, ok, err := a.again(d.Outcome)
			if err != nil {
				return err
			}
			if !ok {
				unable++
				continue
			}
			lines = append(lines, sample.AppendLine(nil, s))
		}
		queued = len(lines)
		return prod.append(lines)
	})
	return queued, unable, err
}

// again makes the line on which an outcome's sample is pushed once more: in the
// version of its own line, or, where that is pruned, of the file as it lies there
// if it is still that version.
func (a *archive) again(o sample.Outcome) (s sample.Sample, ok bool, err error) {
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

// append journals manual lines in the live lane. Those for one scanner are not
// noted in the index: they say nothing of the other scanners.
func (p *producer) append(lines [][]byte) error {
	if err := p.stopped(); err != nil {
		return err
	}
	if len(lines) == 0 {
		return nil
	}
	if _, _, err := p.lanes.Lane(journal.Live).Append(lines...); err != nil {
		return fmt.Errorf("append to journal: %w", err)
	}
	p.m.journaled.WithLabelValues(journal.Live).Add(float64(len(lines)))
	return nil
}

// Drop takes the dead letter that id names off the list, for good. It returns
// how many that were: one for each scanner that gave the sample up.
func (p *Pipeline) Drop(ctx context.Context, id string) (n int, err error) {
	_, consumers, _ := p.halves()
	switch {
	case len(consumers) == 0:
		return 0, errNoConsumer
	case id == "":
		return 0, errors.New("name the dead letter to drop: see `certpush dead list`")
	}
	err = p.look(func(a *archive) error {
		all, err := a.dead(ctx)
		if err != nil {
			return err
		}
		if all, err = chosen(all, id); err != nil {
			return err
		}
		outs := make([]sample.Outcome, len(all))
		for i, d := range all {
			o := d.Outcome
			outs[i] = sample.Outcome{Time: time.Now(), ID: o.ID, Scanner: o.Scanner, Path: o.Path, Size: o.Size, Outcome: sample.Skipped, Reason: sample.ReasonDropped, Tries: o.Tries}
		}
		n = len(outs)
		return consumers[0].led.Record(outs)
	})
	return n, err
}

var (
	errNoProducer = errors.New("no trees are watched by this process: ask the one that runs `certpush watch` or `certpush run`")
	errNoConsumer = errors.New("this process pushes to no scanner: ask the one that runs `certpush push` or `certpush run`")
)
