// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline/journal"
)

// goldenFile returns a file that certpush wrote when docs/formats.md was written. If a
// test fails here, this version reads files of an older one differently, or writes
// files that an older one cannot read. Do not change the golden file for that.
func goldenFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../testdata/formats", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFormatOfMarks: the golden marks name the first line of the golden ledger, and the
// place of its second line. The newer one has a second mark, at the ledger's end.
func TestFormatOfMarks(t *testing.T) {
	first, _, _ := strings.Cut(goldenFile(t, "verdicts.log"), "\n")
	want := Mark{headOfLine([]byte(first)), int64(len(first)) + 1}
	end := Mark{want.head, int64(len(goldenFile(t, "verdicts.log")))}
	dir := t.TempDir()
	d, err := journal.OS.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for name, told := range map[string]*Mark{"mark": nil, "mark.told": &end} {
		golden := goldenFile(t, name)
		if err := os.WriteFile(filepath.Join(dir, "clamav.mark"), []byte(golden), 0o600); err != nil {
			t.Fatal(err)
		}
		from, got := LoadMarks(d, "clamav.mark")
		if from != want || (got == nil) != (told == nil) || got != nil && *got != *told {
			t.Errorf("%s: %+v and %+v, want %+v and %+v", name, from, got, want, told)
		}
		if err := SaveMarks(d, "clamav.mark", from, got); err != nil {
			t.Fatal(err)
		}
		if text, err := journal.LoadText(d, "clamav.mark"); text != golden || err != nil {
			t.Errorf("%s: %q %v, want %q", name, text, err, golden)
		}
	}
}
