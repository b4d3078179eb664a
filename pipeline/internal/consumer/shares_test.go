// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// TestAFloodKeepsNobodyWaiting counts the pushes of others before that of one file which
// is dropped elsewhere while very many wait.
func TestAFloodKeepsNobodyWaiting(t *testing.T) {
	a, b := filepath.FromSlash("/srv/a"), filepath.FromSlash("/srv/b")
	trees := []config.Tree{{Path: a}, {Path: b}}
	const flood, workers = 20_000, 2
	for name, place := range map[string]func(i int) string{
		"one folder":         func(i int) string { return filepath.Join(a, "flood", fmt.Sprint(i)) },
		"the tree's root":    func(i int) string { return filepath.Join(a, fmt.Sprint(i)) },
		"as many folders":    func(i int) string { return filepath.Join(a, fmt.Sprint(i), "f") },
		"both trees":         func(i int) string { return filepath.Join(trees[i%2].Path, "flood", fmt.Sprint(i)) },
		"folders in folders": func(i int) string { return filepath.Join(a, "flood", fmt.Sprint(i), "f") },
	} {
		for _, lane := range []string{journal.Live, journal.Backlog} {
			t.Run(name+", "+lane, func(t *testing.T) {
				in := &scripted{live: make(chan *push, flood+2), backlog: make(chan *push, flood+2)}
				from := in.live
				if lane == journal.Backlog {
					from = in.backlog
				}
				turns := newTurns(in, trees)
				for i := range flood {
					from <- &push{line: line{sample: sample.Sample{Path: place(i)}}}
				}
				for range 100 {
					turns.fresh()
				}
				others := []string{filepath.Join(a, "else", "x"), filepath.Join(b, "else", "x")}
				for _, path := range others {
					from <- &push{line: line{sample: sample.Sample{Path: path}}}
				}
				before := map[string]int{}
				for n := 0; len(before) < len(others); n++ {
					p := turns.fresh()
					for _, path := range others {
						if p.sample.Path == path {
							before[path] = n
						}
					}
				}
				for path, n := range before {
					if n > 4*workers*len(trees) {
						t.Errorf("%s begins after %d others", path, n)
					}
				}
				for range flood - 100 - before[others[0]] { // none is left out
					turns.fresh()
				}
			})
		}
	}
}

// TestSharesKeepEveryPush, and the order in one folder.
func TestSharesKeepEveryPush(t *testing.T) {
	s := newShares([]config.Tree{{Path: filepath.FromSlash("/t")}})
	const folders, files = 50, 40
	for i := range files {
		for d := range folders {
			s.put(&push{line: line{sample: sample.Sample{Path: filepath.FromSlash(fmt.Sprintf("/t/%d/%02d", d, i))}}})
		}
	}
	last := map[string]string{}
	for range folders * files {
		p := s.take()
		dir := filepath.Dir(p.sample.Path)
		if p.sample.Path <= last[dir] {
			t.Fatalf("%s comes after %s", p.sample.Path, last[dir])
		}
		last[dir] = p.sample.Path
	}
	if s.take() != nil || s.n != 0 || s.bytes != 0 || len(s.of) != 0 {
		t.Errorf("%d pushes and %d bytes are left", s.n, s.bytes)
	}
}

// TestLinesOfOnePathGiveWay to the newest: eight in a row at most, or for a minute.
func TestLinesOfOnePathGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := paths{}
		var all []*push
		more := func() {
			p := &push{line: line{sample: sample.Sample{Path: "/t/a"}}}
			all = append(all, p)
			l.opened(p)
		}
		for range 22 {
			more()
		}
		ends := ""
		for _, p := range all {
			gives, asFound := l.givesWay(p)
			switch {
			case gives:
				ends += "-"
			case asFound:
				ends += "F"
			default:
				ends += "P"
			}
			l.finished(p)
		}
		if ends != "--------F--------F---P" {
			t.Error(ends)
		}
		if len(l) != 0 {
			t.Error("a path is remembered without lines")
		}
		all = nil
		for range 4 {
			more()
		}
		if gives, _ := l.givesWay(all[0]); !gives {
			t.Error("it does not give way")
		}
		time.Sleep(giveWayFor)
		if gives, asFound := l.givesWay(all[1]); gives || !asFound {
			t.Error("a path gives way for longer than a minute")
		}
	})
}
