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

// TestFormatOfMarks: the golden mark names the first line of the golden ledger, and the
// place of its second line.
func TestFormatOfMarks(t *testing.T) {
	first, _, _ := strings.Cut(goldenFile(t, "verdicts.log"), "\n")
	want := Mark{headOfLine([]byte(first)), int64(len(first)) + 1}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "clamav.mark"), []byte(goldenFile(t, "mark")), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := journal.OS.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := LoadMark(d, "clamav.mark"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if text := goldenFile(t, "mark"); want.String() != text {
		t.Errorf("%q, want %q", want, text)
	}
}
