// SPDX-License-Identifier: Apache-2.0

package look

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// A query selects lines. In a segment with a key file it uses keys. In any other
// segment it searches for needle, or parses the keys of each line if needle is nil.
// With nil keys it reads everything, oldest segment first; otherwise newest first. It
// stops after limit lines that were taken (0: never).
//
// What it selects is a superset: the caller still compares each line.
type query struct {
	keys   [][]byte
	needle []byte
	limit  int
}

// one returns the query for the lines with one key: by is its kind (such as
// sample.ByID).
func one(by, key string, needle []byte) query {
	return query{keys: [][]byte{append([]byte(by), key...)}, needle: needle, limit: 2 * maxStory}
}

// each calls f for the lines that query q selects in the segments of base. Then it does
// so for segments that were sealed meanwhile: f may get lines that were in the active
// segment twice. f reports whether it took the line.
func each(ctx context.Context, d journal.Folder, base string, q query, f func(s journal.Segment, offset int64, text []byte) bool) error {
	read, taken, asked := map[string]bool{}, 0, map[string]bool{}
	for _, key := range q.keys {
		asked[string(key)] = true
	}
	for first := true; ; first = false {
		all, err := journal.Survey(d, base)
		if err != nil {
			return fmt.Errorf("list segments: %w", err)
		}
		if !first && !slices.ContainsFunc(all, func(s journal.Segment) bool { return !s.Active && !read[s.Name] }) {
			return nil
		}
		if q.keys != nil {
			slices.Reverse(all)
		}
		for _, s := range all {
			if read[s.Name] {
				continue
			}
			read[s.Name] = !s.Active
			err := q.in(ctx, d, s, func(offset int64, text []byte) (more bool) {
				if (q.keys == nil || q.needle != nil || holds(text, asked)) && f(s, offset, text) {
					taken++
				}
				return !q.enough(taken)
			})
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // otherwise it was pruned, or cut just now
				return err
			}
			if q.enough(taken) {
				return nil
			}
		}
	}
}

func (q query) enough(taken int) bool { return q.limit > 0 && taken >= q.limit }

// holds reports whether a line has one of keys.
func holds(text []byte, keys map[string]bool) (ok bool) {
	sample.KeysOf(text, func(key []byte) { ok = ok || keys[string(key)] })
	return ok
}

// in calls f for the lines that q selects in one segment. Only a search by keys ends
// early, when f returns false.
func (q query) in(ctx context.Context, d journal.Folder, s journal.Segment, f func(offset int64, text []byte) (more bool)) error {
	if q.keys != nil && !s.Active {
		if ok, err := journal.FindKeys(ctx, d, s.Name, q.keys, f); ok || err != nil {
			return err
		}
	}
	return journal.Find(ctx, d, s, q.needle, func(offset int64, text []byte) error {
		f(offset, text)
		return nil
	})
}
