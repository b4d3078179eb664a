// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestNumbersAreGivenByOneAtATime: several readers of both lanes, in one process and in
// two, come upon another program's segments at once. Each segment has one number, which
// all of them know, and none of them has an error.
func TestNumbersAreGivenByOneAtATime(t *testing.T) {
	dir := t.TempDir()
	const readers, rounds = 6, 60
	var all []*catalog
	for i := range readers {
		c, err := openCatalog(folderOf(t, dir), []string{"monitor.log", "backlog.log"}[i%2])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	given := map[string]uint64{}
	for round := range rounds {
		for _, base := range []string{"monitor.log", "backlog.log"} {
			name := fmt.Sprintf("%s.20261122-%02d%02d.log", base, round/60, round%60)
			if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "/%d\n", round), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		var wg sync.WaitGroup
		now := map[string]uint64{}
		for _, c := range all {
			wg.Go(func() {
				segments, err := c.list()
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				for _, s := range segments {
					if n, is := now[s.Name]; is && n != s.Number {
						t.Errorf("%s has the numbers %d and %d", s.Name, n, s.Number)
					}
					now[s.Name] = s.Number
				}
			})
		}
		wg.Wait()
		known, err := loadForeign(folderOf(t, dir))
		if err != nil || len(known) != 2*(round+1) || len(now) != len(known) {
			t.Fatalf("round %d: %d numbers are on disk, %d are told, %v", round, len(known), len(now), err)
		}
		for name, n := range given {
			if now[name] != n {
				t.Fatalf("%s had the number %d and has %d", name, n, now[name])
			}
		}
		given = maps.Clone(now)
	}
}

// TestALookGivesNoNumbers, and writes nothing.
func TestALookGivesNoNumbers(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "monitor.log"), []byte("/a\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	all, err := Survey(folderOf(t, dir), "monitor.log")
	if err != nil || len(all) != 1 || all[0].Number != 0 {
		t.Errorf("%+v %v", all, err)
	}
	if _, err := (Cursor{Pos: Pos{3, 4}}).Fit(folderOf(t, dir), "monitor.log"); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
}
