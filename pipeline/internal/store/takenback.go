// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
)

// A consumer takes verdicts back by way of two files beside the cursors. It writes
// SCANNER.NUMBER.back, whose lines are to be journaled. The producer, which may be
// another process, journals them, and leaves SCANNER.NUMBER.again in its place with the
// place behind them in the live lane. When the scanner's cursor has passed that place,
// the consumer removes it.
const (
	backSuffix  = ".back"
	againSuffix = ".again"
)

// SightSuffix ends the name of the file in which the consumer of a scanner remembers its
// good canaries. Each line is a JSON object; "lost" is true in it from a wrong answer on
// until what it makes void is taken back.
const SightSuffix = ".sight"

// TakenBack is one set of verdicts that a consumer takes back.
type TakenBack struct {
	Scanner string
	Name    string      // of its files, without the suffix
	Queued  bool        // its lines are journaled
	Until   journal.Pos // behind them in the live lane; set if Queued
}

// TakeBack writes the lines that are to be journaled, durably. Its number is the time, or
// the next one that is free: a clock may stand still, or go back. One goroutine at a time
// may take back verdicts of a scanner.
func TakeBack(dir journal.Folder, scanner string, now time.Time, lines []byte) (TakenBack, error) {
	all, err := LoadTakenBack(dir)
	if err != nil {
		return TakenBack{}, err
	}
	t := TakenBack{Scanner: scanner}
	for number := now.UnixNano(); ; number++ {
		t.Name = fmt.Sprintf("%s.%d", scanner, number)
		if !slices.ContainsFunc(all, func(o TakenBack) bool { return o.Name == t.Name }) {
			return t, journal.SaveText(dir, t.Name+backSuffix, string(lines))
		}
	}
}

// Lines returns the lines that are to be journaled, each with its newline.
func (t TakenBack) Lines(dir journal.Folder) ([][]byte, error) {
	text, err := journal.LoadText(dir, t.Name+backSuffix)
	if err != nil {
		return nil, fmt.Errorf("read what is taken back: %w", err)
	}
	var lines [][]byte
	for line := range strings.Lines(text) {
		lines = append(lines, []byte(line))
	}
	return lines, nil
}

// Queue notes durably that the lines are journaled, up to a place.
func (t TakenBack) Queue(dir journal.Folder, until journal.Pos) error {
	if err := journal.SaveText(dir, t.Name+againSuffix, until.String()); err != nil {
		return err
	}
	// A crash here: both files are there, and the second one counts.
	return remove(dir, t.Name+backSuffix)
}

// Forget removes the files.
func (t TakenBack) Forget(dir journal.Folder) error {
	return errors.Join(remove(dir, t.Name+backSuffix), remove(dir, t.Name+againSuffix))
}

func remove(dir journal.Folder, name string) error {
	err := dir.Remove(name)
	// A power cut may bring the file back: then it is removed once more.
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// IsTakenBack reports whether name is that of a file of TakenBack.
func IsTakenBack(name string) bool {
	_, _, ok := cutTakenBack(name)
	return ok
}

func cutTakenBack(name string) (t TakenBack, queued, ok bool) {
	base, back := strings.CutSuffix(name, backSuffix)
	if !back {
		base, queued = strings.CutSuffix(name, againSuffix)
	}
	scanner, number, dotted := strings.Cut(base, ".")
	ok = (back || queued) && dotted && scanner != "" && number != "" && !strings.Contains(number, ".")
	return TakenBack{Scanner: scanner, Name: base}, queued, ok
}

// LoadLost returns of how many canaries of a scanner a wrong answer is on record whose
// verdicts are not taken back yet.
func LoadLost(dir journal.Folder, scanner string) (n int, err error) {
	text, err := journal.LoadText(dir, scanner+SightSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for line := range strings.Lines(text) {
		var w struct{ Lost bool }
		if json.Unmarshal([]byte(line), &w) == nil && w.Lost {
			n++
		}
	}
	return n, err
}

// LoadTakenBack returns what is taken back and not finished, of all scanners.
func LoadTakenBack(dir journal.Folder) ([]TakenBack, error) {
	entries, err := dir.List()
	if err != nil {
		return nil, fmt.Errorf("list what is taken back: %w", err)
	}
	byName := map[string]TakenBack{}
	for _, e := range entries {
		t, queued, ok := cutTakenBack(e.Name())
		if !ok || byName[t.Name].Queued {
			continue
		}
		if queued {
			text, err := journal.LoadText(dir, e.Name())
			if errors.Is(err, fs.ErrNotExist) {
				continue // finished meanwhile
			}
			if err == nil {
				t.Until, err = journal.ParsePos(text)
			}
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", e.Name(), err)
			}
			t.Queued = true
		}
		byName[t.Name] = t
	}
	var all []TakenBack
	for _, t := range byName {
		all = append(all, t)
	}
	return all, nil
}
