// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// The golden files are what certpush wrote when docs/formats.md was written. A test
// that fails here says that files of an older version are read otherwise now, or
// that an older version cannot read ours: do not change the golden file for that.
const formats = "../testdata/formats"

func goldenFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(formats, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// hostileName is not UTF-8, and it holds a quote and what clears a terminal.
const hostileName = "/srv/samples/\xff\"\x1b[2J"

func TestFormatOfSampleLines(t *testing.T) {
	seen, mtime := time.Date(2026, 11, 22, 23, 59, 1, 5000, time.UTC), watch.Time{Sec: 1795391940, Nsec: 42}
	old := watch.Time{Sec: -1, Nsec: 999999999} // a nanosecond before 1970
	want := []Sample{
		{ID: version("/srv/samples/a.exe", 68, mtime), Seen: seen, Via: ViaEvent, Path: "/srv/samples/a.exe", Size: 68, Mtime: mtime},
		{ID: version(hostileName, 0, old), Seen: seen, Via: ViaSweep, Path: hostileName, Size: 0, Mtime: old},
		{ID: version("/srv/samples/\u202egpj.exe", 1<<40, mtime), Seen: seen, Via: ViaLimit, Path: "/srv/samples/\u202egpj.exe", Size: 1 << 40, Mtime: mtime},
		{ID: version("/srv/samples/b", 7, mtime), Seen: seen, Via: ViaManual, Path: "/srv/samples/b", Size: 7, Mtime: mtime, For: "clamav"},
		{Via: ViaManual, Path: "/srv/samples/bare"},
		{Via: ViaManual, Path: `C:\samples\bare`},
	}
	lines := strings.SplitAfter(goldenFile(t, "monitor.log"), "\n")[1:] // without the header
	if len(lines) != len(want)+1 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, w := range want {
		got, err := parseLine([]byte(strings.TrimSuffix(lines[i], "\n")))
		if err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%+v, %v, want %+v", got, err, w)
		}
		if text := w.appendLine(nil); !w.Bare() && string(text) != lines[i] {
			t.Errorf("%s, want %s", text, lines[i])
		}
	}
}

func TestFormatOfOutcomes(t *testing.T) {
	when, sum := time.Date(2026, 11, 23, 0, 0, 2, 125000000, time.UTC), strings.Repeat("0123456789abcdef", 4)
	want := []Outcome{
		{Time: when, ID: "0011223344556677", Scanner: "clamav", Path: "/srv/samples/a.exe", Size: 68, SHA256: sum, Outcome: Done, Verdict: scan.Malicious,
			Signature: "Eicar-Test-Signature", Tries: 1, Took: 1250 * time.Microsecond, At: At{journal.Live, journal.Pos{Segment: 42, Offset: 47}}},
		{Time: when, ID: "0011223344556678", Scanner: "clamav", Path: hostileName, Size: 1 << 40, SHA256: sum, Outcome: Done, Verdict: scan.Unscanned,
			Reason: "too_big", Cached: true, At: At{journal.Backlog, journal.Pos{Segment: 7, Offset: 50}}},
		{Time: when, Scanner: "clamav", Path: "/srv/samples/bare", Outcome: Gone, Took: time.Millisecond, At: At{journal.Live, journal.Pos{Segment: 42, Offset: 800}}},
		{Time: when, ID: "0011223344556679", Scanner: "clamav", Path: "/srv/samples/\u202egpj.exe", Size: 9, Outcome: Dead,
			Reason: "refused: \x1b]0;", Tries: 8, Took: 90 * time.Minute, At: At{journal.Live, journal.Pos{Segment: 41, Offset: 47}}},
		{Time: when, ID: "0011223344556679", Scanner: "clamav", Path: "/srv/samples/\u202egpj.exe", Size: 9, Outcome: Skipped, Reason: ReasonDropped},
	}
	lines := strings.SplitAfter(goldenFile(t, "verdicts.log"), "\n")
	if len(lines) != len(want)+1 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, w := range want {
		got, err := parseOutcome([]byte(lines[i]))
		if err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%+v, %v, want %+v", got, err, w)
		}
		if text := w.appendLine(nil); string(text) != lines[i] {
			t.Errorf("%s, want %s", text, lines[i])
		}
		l, ok := parseFinished([]byte(lines[i]))
		if at, is := parseAt(l.At); !ok || l.Scanner != "clamav" || is && at != w.At || is == (w.At == At{}) {
			t.Errorf("%s finishes %+v, %t", lines[i], l, ok)
		}
	}
}

func TestFormatOfTries(t *testing.T) {
	want := Try{
		Time: time.Date(2026, 11, 23, 0, 0, 1, 0, time.UTC), ID: "0011223344556679", Scanner: "clamav", Path: hostileName, Try: 3,
		Reason: "unclear: \"?\"", At: At{journal.Live, journal.Pos{Segment: 41, Offset: 47}},
	}
	text := goldenFile(t, "tries.log")
	var got Try
	if err := got.UnmarshalJSON([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if line := want.appendLine(nil); string(line) != text {
		t.Errorf("%s, want %s", line, text)
	}
}

func TestFormatOfDamageNames(t *testing.T) {
	want := []damage{
		{At{journal.Live, journal.Pos{Segment: 42, Offset: 47}}, journal.Pos{Segment: 42, Offset: 209}},
		{At{journal.Backlog, journal.Pos{Segment: 3, Offset: 50}}, journal.Pos{Segment: 1<<64 - 1}},
	}
	names := strings.Fields(goldenFile(t, "damage-names.txt"))
	if len(names) != len(want) {
		t.Fatalf("%d names", len(names))
	}
	for i, w := range want {
		if got, ok := parseDamage(names[i]); !ok || got != w || w.name() != names[i] {
			t.Errorf("%s: %+v, %t, want %+v, %s", names[i], got, ok, w, w.name())
		}
	}
}

// TestFormatOfMarks: the golden mark names the first line of the golden ledger, and
// the place of its second.
func TestFormatOfMarks(t *testing.T) {
	first, _, _ := strings.Cut(goldenFile(t, "verdicts.log"), "\n")
	want := mark{headOfLine([]byte(first)), int64(len(first)) + 1}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "clamav.mark"), []byte(goldenFile(t, "mark")), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := journal.OS.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := loadMark(d, "clamav.mark"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if text := goldenFile(t, "mark"); want.String() != text {
		t.Errorf("%q, want %q", want, text)
	}
}

// TestFormatOfIndex: each line of the golden file is a key and its value, in hex.
func TestFormatOfIndex(t *testing.T) {
	x := &index{key: []byte("key of the index")}
	entries := []entry{
		{watch.Stat{Size: 68, Mtime: watch.Time{Sec: 1795391940, Nsec: 42}, Inode: 131075, Ctime: watch.Time{Sec: 1795391941, Nsec: 43}, Dev: 2049},
			At{journal.Live, journal.Pos{Segment: 42, Offset: 47}}},
		{watch.Stat{Size: 1 << 40, Mtime: watch.Time{Sec: -1, Nsec: 999999999}, Inode: 1<<64 - 1, Ctime: watch.Time{Sec: 1}, Dev: 1<<64 - 2},
			At{journal.Backlog, journal.Pos{Segment: 1 << 62, Offset: 1 << 40}}},
	}
	folder := x.folderKey("/srv/samples")
	folder[0] = 'd'
	wrote := [][2]string{
		{string(x.hash(x.folderKey("/srv/samples"), "a.exe")), string(entries[0].encode())},
		{string(x.hash(x.folderKey("/srv/samples"), hostileName)), string(entries[1].encode())},
		{string(folder), "/srv/samples"},
		{"mlive", journal.Pos{Segment: 42, Offset: 209}.String()},
		{"mbacklog", journal.Pos{Segment: 7, Offset: 50}.String()},
		{string(x.hash([]byte{'t'}, "/srv/samples")), "2049"},
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
	for i, want := range entries {
		_, value, _ := strings.Cut(lines[i], " ")
		b, err := hex.DecodeString(value)
		if got, ok := decodeEntry(b); err != nil || !ok || got != want {
			t.Errorf("%+v, %t, %v, want %+v", got, ok, err, want)
		}
	}
}

// TestFormatOfCache: each line of the golden file is a key and its value, in hex.
func TestFormatOfCache(t *testing.T) {
	at, sum := time.Unix(1795391999, 123456789), [32]byte([]byte("SHA-256 is of thirty-two bytes.."))
	want := []scan.Answer{{Verdict: scan.Malicious, Signature: "Eicar-Test-Signature"}, {Verdict: scan.Clean}}
	lines := strings.Split(strings.TrimSpace(goldenFile(t, "cache.txt")), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines", len(lines))
	}
	for i, w := range want {
		key := cacheKey("clamav", "ClamAV 1.4.6/27001/Mon Nov 23 10:00:00 2026", sum)
		if got := hex.EncodeToString(key) + " " + hex.EncodeToString(encodeCached(at, w)); got != lines[i] {
			t.Errorf("%s\nwant\n%s", got, lines[i])
		}
		_, value, _ := strings.Cut(lines[i], " ")
		b, err := hex.DecodeString(value)
		if when, got, ok := decodeCached(b); err != nil || !ok || !when.Equal(at) || !reflect.DeepEqual(got, w) {
			t.Errorf("%v, %+v, %t, %v, want %+v", when, got, ok, err, w)
		}
		sum[0]++
	}
}
