// SPDX-License-Identifier: Apache-2.0

package index

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
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

// hostileName is not UTF-8. It holds a quote, and a sequence that clears a terminal.
const hostileName = "/srv/samples/\xff\"\x1b[2J"

// TestFormatOfIndex: each line of the golden file is a key and its value, in hex.
func TestFormatOfIndex(t *testing.T) {
	x := &Index{keys: []byte("key of the index")}
	entries := []Entry{
		{Stat: watch.Stat{Size: 68, Mtime: watch.Time{Sec: 1795391940, Nsec: 42}, Inode: 131075, Ctime: watch.Time{Sec: 1795391941, Nsec: 43}, Dev: 2049},
			At: sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 42, Offset: 47}}},
		{Stat: watch.Stat{Size: 1 << 40, Mtime: watch.Time{Sec: -1, Nsec: 999999999}, Inode: 1<<64 - 1, Ctime: watch.Time{Sec: 1}, Dev: 1<<64 - 2},
			At: sample.At{Lane: journal.Backlog, Pos: journal.Pos{Segment: 1 << 62, Offset: 1 << 40}}},
	}
	long := entries[0]
	long.Bytes, long.Sum = Hashed, sha256.Sum256([]byte("bytes"))
	folder := x.keys.folder("/srv/samples")
	folder[0] = 'd'
	wrote := [][2]string{
		{string(x.keys.hash(x.keys.folder("/srv/samples"), "a.exe")), string(entries[0].encode())},
		{string(x.keys.hash(x.keys.folder("/srv/samples"), hostileName)), string(entries[1].encode())},
		{string(folder), "/srv/samples"},
		{"mlive", journal.Pos{Segment: 42, Offset: 209}.String()},
		{"mbacklog", journal.Pos{Segment: 7, Offset: 50}.String()},
		{string(x.keys.hash([]byte{'t'}, "/srv/samples")), "2049"},
		{string(x.keys.hash([]byte{'i'}, "/srv/samples")), "ef53 0123456789abcdef"},
		{string(x.keys.hash(x.keys.folder("/srv/samples"), "young")), string(long.encode())},
	}
	lines := strings.Split(strings.TrimSpace(goldenFile(t, "index.txt")), "\n")
	if len(lines) != len(wrote) {
		t.Fatalf("%d lines", len(lines))
	}
	for i, w := range wrote {
		if got := hex.EncodeToString([]byte(w[0])) + " " + hex.EncodeToString([]byte(w[1])); got != lines[i] {
			t.Errorf("%s\nwant\n%s", got, lines[i])
		}
	}
	for i, want := range map[int]Entry{0: entries[0], 1: entries[1], 7: long} {
		_, value, _ := strings.Cut(lines[i], " ")
		b, err := hex.DecodeString(value)
		if got, ok := decodeEntry(b); err != nil || !ok || got != want {
			t.Errorf("%+v, %t, %v, want %+v", got, ok, err, want)
		}
	}
}
