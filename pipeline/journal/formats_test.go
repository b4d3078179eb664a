// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// certpush wrote the golden files when docs/formats.md was written. A test that fails
// here says that files of an older version are read in another way now, or that an older
// version cannot read ours. Do not change the golden file for that.
const formats = "../../testdata/formats"

func goldenFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(formats, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// goldenFolder returns a folder with copies of golden files. names maps the name of a
// file in the folder to that of its golden file.
func goldenFolder(t *testing.T, names map[string]string) (Folder, string) {
	t.Helper()
	dir := t.TempDir()
	for name, golden := range names {
		if err := os.WriteFile(filepath.Join(dir, name), goldenFile(t, golden), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := OS.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, dir
}

func TestFormatOfHeader(t *testing.T) {
	first, _, _ := bytes.Cut(goldenFile(t, "monitor.log"), []byte{'\n'})
	h, ok := parseHeader(first)
	if want := (header{Segment: 42, Lane: Live, Format: 1}); !ok || h != want {
		t.Errorf("%+v, %t, want %+v", h, ok, want)
	}
	if got := h.line(); string(got) != string(first)+"\n" {
		t.Errorf("%q, want %q", got, first)
	}
}

func TestFormatOfSealedNames(t *testing.T) {
	minute := time.Date(2026, 11, 22, 23, 59, 30, 0, time.UTC)
	for _, name := range strings.Fields(string(goldenFile(t, "sealed-names.txt"))) {
		segment := strings.TrimSuffix(name, ".keys")
		if segment != name {
			segment += ".log"
			if keysName(segment) != name || !IsKeys("monitor.log", name) {
				t.Errorf("%s: its keys are %s", segment, keysName(segment))
			}
		}
		n, ok := parseSealed("monitor.log", segment)
		if !ok || n.minute != minute.Format(minuteForm) || n.format("monitor.log") != segment {
			t.Errorf("%s: %+v, %t", segment, n, ok)
		}
	}
	var names []string
	n := sealedName{}
	for range 3 {
		n = n.next(minute)
		names = append(names, n.format("monitor.log"))
	}
	if got, want := strings.Join(names, "\n"), string(goldenFile(t, "sealed-names.txt")); !strings.HasPrefix(want, got) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestFormatOfCursor(t *testing.T) {
	d, dir := goldenFolder(t, map[string]string{"clamav.live": "cursor.checked", "clamav.backlog": "cursor"})
	at, err := LoadCursor(d, "clamav", Live)
	if want := (Cursor{Pos{Segment: 42, Offset: 209}, SumOf([]byte("the line before"))}); err != nil || at != want {
		t.Fatalf("%v, %v, want %v", at, err, want)
	}
	if err := SaveCursor(d, "clamav", Live, at); err != nil {
		t.Fatal(err)
	}
	sameAsGolden(t, dir, "clamav.live", "cursor.checked")
	old, err := LoadCursor(d, "clamav", Backlog)
	if want := (Cursor{Pos: at.Pos}); err != nil || old != want {
		t.Fatalf("the old form: %v, %v, want %v", old, err, want)
	}
}

func TestFormatOfForeignNumbers(t *testing.T) {
	d, dir := goldenFolder(t, map[string]string{foreignFile: "segments"})
	known, bad, err := readForeign(d)
	want := []foreign{
		{1, "monitor.log", "2049-131075-" + hex.EncodeToString([]byte("12345678"))},
		{2, "monitor.log", "2049-131076-" + hex.EncodeToString([]byte("abcdefgh"))},
	}
	if err != nil || bad != 0 || !reflect.DeepEqual(known, want) {
		t.Fatalf("%+v, %d, %v, want %+v", known, bad, err, want)
	}
	if err := saveForeign(d, known); err != nil {
		t.Fatal(err)
	}
	sameAsGolden(t, dir, foreignFile, "segments")
}

func sameAsGolden(t *testing.T, dir, name, golden string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if want := goldenFile(t, golden); !bytes.Equal(got, want) {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

// goldenStat stands for the segment to which the golden keys belong.
type goldenStat struct {
	fs.FileInfo
	size  int64
	mtime time.Time
}

func (s goldenStat) Size() int64        { return s.size }
func (s goldenStat) ModTime() time.Time { return s.mtime }

// TestFormatOfKeys: in this segment each line's key is the line itself.
func TestFormatOfKeys(t *testing.T) {
	text, mtime := goldenFile(t, "monitor.log"), time.Unix(1795391999, 123456700)
	const segment = "monitor.log.20261122-2359.log"
	d, dir := goldenFolder(t, map[string]string{segment: "monitor.log", keysName(segment): "monitor.keys"})
	if err := os.Chtimes(filepath.Join(dir, segment), mtime, mtime); err != nil {
		t.Fatal(err)
	}
	w := &keysWriter{of: goldenStat{size: int64(len(text)), mtime: mtime}, blocks: 1, salt: [saltSize]byte([]byte("salt of 16 bytes"))}
	var got bytes.Buffer
	if err := w.begin(&got); err != nil {
		t.Fatal(err)
	}
	entries := map[uint64]bool{}
	offset, all := int64(0), bytes.SplitAfter(text, []byte{'\n'})
	for _, line := range all[:len(all)-1] {
		line := bytes.TrimSuffix(line, []byte{'\n'})
		entries[uint64(hashOf(w.salt, line))<<32|uint64(offset)] = true
		found := int64(-1)
		ok, err := FindKeys(t.Context(), d, segment, [][]byte{line}, func(at int64, told []byte) bool {
			if bytes.Equal(told, line) {
				found = at
			}
			return true
		})
		if err != nil || !ok || found != offset {
			t.Errorf("the line at %d is found at %d, %t, %v", offset, found, ok, err)
		}
		offset += int64(len(line)) + 1
	}
	for len(entries) > 0 {
		least := ^uint64(0)
		for e := range entries {
			least = min(least, e)
		}
		delete(entries, least)
		if err := w.add(least); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), goldenFile(t, "monitor.keys")) {
		t.Errorf("keys are written otherwise:\n%s", hex.Dump(got.Bytes()[:64]))
	}
}
