// SPDX-License-Identifier: Apache-2.0

package store

import (
	"os"
	"slices"
	"testing"

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
	taken, err := TakeBack(dir, "clamav", 7, lines)
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
