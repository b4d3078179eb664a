// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// maxDamage is how many damaged places are listed one by one. If there are more, the
// next one counts as damaged up to the end of its lane.
const maxDamage = 1000

// SaveDamage notes damage in dir, durably. It writes nothing for what damage that was
// noted before contains. What begins where that ends makes it longer instead.
//
// A crash between the two steps of that leaves both: the index forgets some lines twice.
func SaveDamage(dir journal.Folder, fresh ...sample.Damage) error {
	if len(fresh) == 0 {
		return nil
	}
	all, err := LoadDamage(dir)
	if err != nil {
		return err
	}
	for _, d := range fresh {
		i := slices.IndexFunc(all, func(have sample.Damage) bool {
			return have.At.Lane == d.At.Lane && !d.At.Pos.Before(have.At.Pos) && !have.After.Before(d.At.Pos)
		})
		switch {
		case i >= 0 && !all[i].After.Before(d.After):
			continue
		case i >= 0:
			d.At = all[i].At
		case len(all) >= maxDamage:
			d.After = journal.Pos{Segment: math.MaxUint64}
		}
		if err := journal.SaveText(dir, d.Name(), ""); err != nil {
			return err
		}
		if i < 0 {
			all = append(all, d)
			continue
		}
		if err := dir.Remove(all[i].Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("join damage: %w", err)
		}
		all[i] = d
	}
	return nil
}

// LoadDamage returns the damage that was noted in dir and that the producer has not
// dealt with yet.
func LoadDamage(dir journal.Folder) ([]sample.Damage, error) {
	entries, err := dir.List()
	if err != nil {
		return nil, fmt.Errorf("list damage: %w", err)
	}
	var all []sample.Damage
	for _, e := range entries {
		if d, ok := sample.ParseDamage(e.Name()); ok {
			all = append(all, d)
		}
	}
	return all, nil
}

// CursorFiles returns the names of the cursor files of a lane, for all scanners.
func CursorFiles(dir journal.Folder, lane string) ([]string, error) {
	entries, err := dir.List()
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "."+lane) {
			files = append(files, e.Name())
		}
	}
	return files, err
}

// Scanners returns the names of the scanners that have a cursor or a mark in dir. Those
// whose cursors were put aside are not among them.
func Scanners(dir journal.Folder) ([]string, error) {
	entries, err := dir.List()
	if err != nil {
		return nil, fmt.Errorf("list cursors: %w", err)
	}
	names, aside := map[string]bool{}, map[string]bool{}
	for _, e := range entries {
		file, removed := strings.CutSuffix(e.Name(), ".removed")
		for _, kind := range append([]string{"mark"}, sample.Lanes...) {
			if name, is := strings.CutSuffix(file, "."+kind); is && removed {
				aside[name] = true
			} else if is {
				names[name] = true
			}
		}
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { return aside[name] })
	return slices.Sorted(maps.Keys(names)), nil
}
