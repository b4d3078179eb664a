// SPDX-License-Identifier: Apache-2.0

package store

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
)

// TestFormatOfTakenBack: a file .again of an older certpush is read as it was meant, and
// written in the same bytes.
func TestFormatOfTakenBack(t *testing.T) {
	golden, err := os.ReadFile("../../../testdata/formats/again")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := journal.OS.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	lines := []byte("one\ntwo\n")
	taken, err := TakeBack(dir, "clamav", time.Unix(0, 7), lines)
	if err != nil {
		t.Fatal(err)
	}
	back, err := taken.Lines(dir)
	if text, err2 := journal.LoadText(dir, "clamav.7.back"); err != nil || err2 != nil || text != string(lines) || len(back) != 2 || string(back[1]) != "two\n" {
		t.Errorf("%q, %q, %v, %v", text, back, err, err2)
	}
	until := journal.Pos{Segment: 42, Offset: 4711}
	if err := taken.Queue(dir, until); err != nil {
		t.Fatal(err)
	}
	if text, err := journal.LoadText(dir, "clamav.7.again"); err != nil || text != string(golden) {
		t.Errorf("%q, %v", text, err)
	}
	want := []TakenBack{{Scanner: "clamav", Name: "clamav.7", Queued: true, Until: until}}
	if all, err := LoadTakenBack(dir); err != nil || !slices.Equal(all, want) {
		t.Errorf("%+v, %v", all, err)
	}
	if err := taken.Forget(dir); err != nil {
		t.Error(err)
	}
	if all, err := LoadTakenBack(dir); err != nil || len(all) > 0 {
		t.Errorf("%+v, %v", all, err)
	}
	for name, want := range map[string]bool{"clamav.7.back": true, "clamav.7.again": true, "clamav.live": false, "clamav.back": false, "a.b.7.back": false, ".7.back": false} {
		if IsTakenBack(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// TestTheSameMomentTakesNothingAway: verdicts are taken back twice while the clock stands
// still, once more after the first are journaled, and for another scanner.
func TestTheSameMomentTakesNothingAway(t *testing.T) {
	dir, err := journal.OS.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	take := func(scanner, line string) TakenBack {
		t.Helper()
		taken, err := TakeBack(dir, scanner, time.Unix(0, 7), []byte(line+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	first := take("clamav", "one")
	take("clamav", "two")
	if err := first.Queue(dir, journal.Pos{Segment: 1}); err != nil {
		t.Fatal(err)
	}
	take("clamav", "three")
	take("other", "four")
	for name, line := range map[string]string{"clamav.8.back": "two\n", "clamav.9.back": "three\n", "other.7.back": "four\n"} {
		if text, err := journal.LoadText(dir, name); err != nil || text != line {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if all, err := LoadTakenBack(dir); err != nil || len(all) != 4 {
		t.Errorf("%+v, %v", all, err)
	}
}
