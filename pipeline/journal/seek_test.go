// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"fmt"
	"testing"
)

// TestSeek: after Seek a reader returns the lines from there on, as a new reader does,
// whatever it read before and whatever was cut or pruned since.
func TestSeek(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	var all []Pos
	for i := range 12 {
		line := fmt.Appendf(nil, "/%d\n", i)
		if i == 5 {
			line = append(bytes.Repeat([]byte{'x'}, MaxLine+10), line...)
		}
		first, _, err := s.Append(line)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, first)
		if i%4 == 3 {
			if err := s.Cut(at("10:00")); err != nil {
				t.Fatal(err)
			}
		}
	}
	next := func(r *Reader) string {
		line, ok, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(ok, line.At, line.After, line.Long, string(line.Text[:min(len(line.Text), 10)]))
	}
	fresh := func(from Pos) *Reader {
		r, err := NewReader(s.Folder(), "monitor.log", from, s, silent)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := fresh(Pos{})
	defer r.Close()
	hold := func() {
		t.Helper()
		for i := range all {
			for j := range all {
				r.Seek(all[i])
				next(r)
				r.Seek(all[j])
				n := fresh(all[j])
				for range 3 {
					if got, want := next(r), next(n); got != want {
						t.Fatalf("from line %d to line %d: %s, want %s", i, j, got, want)
					}
				}
				n.Close()
			}
		}
	}
	hold()
	if _, err := s.Prune(0, -1, Before(all[6].Segment)); err != nil {
		t.Fatal(err)
	}
	hold()
}
