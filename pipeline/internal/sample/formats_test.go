// SPDX-License-Identifier: Apache-2.0

package sample

import (
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
		got, err := ParseLine([]byte(strings.TrimSuffix(lines[i], "\n")))
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
		{Time: when, ID: "001122334455667a", Scanner: "clamav", Path: "/srv/samples/b.zip", Size: 9, SHA256: sum, Outcome: Done, Verdict: scan.Unscanned,
			Reason: "encrypted_untold", Version: "ClamAV 1.4.6/27001/Mon Nov 23 10:00:00 2026", Address: "tcp:10.0.0.5:3310", Tries: 1, Took: 1250 * time.Microsecond,
			At: At{journal.Live, journal.Pos{Segment: 42, Offset: 900}}},
	}
	lines := strings.SplitAfter(goldenFile(t, "verdicts.log"), "\n")
	if len(lines) != len(want)+1 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, w := range want {
		got, err := ParseOutcome([]byte(lines[i]))
		if err != nil || !reflect.DeepEqual(got, w) {
			t.Errorf("%+v, %v, want %+v", got, err, w)
		}
		if text := w.appendLine(nil); string(text) != lines[i] {
			t.Errorf("%s, want %s", text, lines[i])
		}
		scanner, at, ok := ParseFinished([]byte(lines[i]))
		if finishes := w.At != (At{}); ok != finishes || ok && (scanner != "clamav" || at != w.At) {
			t.Errorf("%s finishes %s, %v, %t", lines[i], scanner, at, ok)
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
	want := []Damage{
		{At{journal.Live, journal.Pos{Segment: 42, Offset: 47}}, journal.Pos{Segment: 42, Offset: 209}},
		{At{journal.Backlog, journal.Pos{Segment: 3, Offset: 50}}, journal.Pos{Segment: 1<<64 - 1}},
	}
	names := strings.Fields(goldenFile(t, "damage-names.txt"))
	if len(names) != len(want) {
		t.Fatalf("%d names", len(names))
	}
	for i, w := range want {
		if got, ok := ParseDamage(names[i]); !ok || got != w || w.Name() != names[i] {
			t.Errorf("%s: %+v, %t, want %+v, %s", names[i], got, ok, w, w.Name())
		}
	}
}
