// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"bytes"

	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/certpush/certpush/pipeline/watch"
)

func TestLineIsAsWritten(t *testing.T) {
	s := anEvent("/srv/samples/a.bin", 3, watch.Time{Sec: 1700000000, Nsec: 5})
	want := `{"id":"` + s.ID + `","seen":"2023-11-14T22:13:20.123456789Z","via":"event","path":"/srv/samples/a.bin","size":3,"mtime":"1700000000.000000005"}` + "\n"
	if got := string(s.appendLine(nil)); got != want {
		t.Fatalf("line\n got %s want %s", got, want)
	}
}

// TestLineHostileNames: a name of any bytes is read back, its line stays one line, and
// holds nothing that controls a terminal.
func TestLineHostileNames(t *testing.T) {
	for _, path := range []string{
		"/t/new\nline", "/t/cr\r", "/t/esc\x1b[2J", "/t/\u202egnp.exe", "/t/\xff\xfe", "/t/\u2028", "/t/\"quote\\", "/t/\x7f",
		"/t/\U000e0001tag", "/t/" + strings.Repeat("\xf0", 255), "/t/日本", "/t/\ufffd", `C:\drop\x`,
	} {
		for _, mtime := range []watch.Time{{}, {Sec: -11644473600, Nsec: 999999999}, {Sec: 32503680000}, {Sec: 1 << 62, Nsec: 1}} {
			s := anEvent(path, 1<<62, mtime)
			line := s.appendLine(nil)
			if bytes.Count(line, []byte{'\n'}) != 1 {
				t.Fatalf("%q: more than one line: %q", path, line)
			}
			for _, r := range strings.TrimSuffix(string(line), "\n") {
				if r < 0x20 || r >= 0x7f && !plain(r) {
					t.Fatalf("%q: raw %U in %q", path, r, line)
				}
			}
			back, err := ParseLine(bytes.TrimSuffix(line, []byte{'\n'}))
			if err != nil || back != s {
				t.Fatalf("%q: read back %+v, %v", path, back, err)
			}
		}
	}
}

func TestLineRefused(t *testing.T) {
	good := string(anEvent("/t/a", 1, watch.Time{Sec: 1}).appendLine(nil))
	good = strings.TrimSuffix(good, "\n")
	for _, bad := range []string{
		"", "{", "null", "[]", `{"id":"x"}`, strings.Replace(good, "/t/a", "/t/b", 1), strings.Replace(good, `"size":1`, `"size":2`, 1),
		strings.Replace(good, `"mtime":"1.0`, `"mtime":"2.0`, 1), good[:len(good)-1], "relative/path", "\x00/t",
	} {
		if s, err := ParseLine([]byte(bad)); err == nil {
			t.Errorf("%q was accepted as %+v", bad, s)
		}
	}
}

func TestLineBarePath(t *testing.T) {
	for text, want := range map[string]string{"/srv/a b\tc": "/srv/a b\tc", `C:\x\y.exe`: `C:\x\y.exe`, "d:/x": "d:/x", "/srv/a\r": "/srv/a"} {
		s, err := ParseLine([]byte(text))
		if err != nil || s.Path != want || !s.Bare() {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("/t/a", int64(1), int64(1), int32(2), "clamav")
	f.Add("/t/\xff\n", int64(0), int64(-1), int32(999999999), "")
	f.Fuzz(func(t *testing.T, path string, size, sec int64, nsec int32, dest string) {
		if path == "" || nsec < 0 || nsec > 999999999 || !utf8.ValidString(dest) {
			return
		}
		s := anEvent(path, size, watch.Time{Sec: sec, Nsec: nsec})
		line := s.appendLine(nil)
		back, err := ParseLine(bytes.TrimSuffix(line, []byte{'\n'}))
		if err != nil || back != s {
			t.Fatalf("wrote %q\nread %+v, %v", line, back, err)
		}
		if bytes.Count(line, []byte{'\n'}) != 1 {
			t.Fatalf("%q is not one line", line)
		}
	})
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"id":"00","path":"/a"}`))
	f.Add([]byte("/bare"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseLine(text)
		if err == nil && !s.Bare() && s.ID != version(s.Path, s.Size, s.Mtime) {
			t.Fatalf("%q: id does not fit", text)
		}
	})
}

// anEvent returns a sample that an event noticed.
func anEvent(path string, size int64, mtime watch.Time) Sample {
	s := OfFile(path, size, mtime)
	s.Seen, s.Via = time.Unix(1700000000, 123456789).UTC(), ViaEvent
	return s
}

// hostile are names as an attacker may choose them.
var hostile = []string{"new\nline", "esc\x1b[2J", "\xff\xfe", "\u202egnp.exe", "a\tb", strings.Repeat("n", 255), "quote\"'\\", "ok: Fake.Sig FOUND"}

// TestALongSignatureIsCutAndMarked, not in the middle of a character.
func TestALongSignatureIsCutAndMarked(t *testing.T) {
	if s := strings.Repeat("x", 256); Short(s) != s {
		t.Error("256 bytes are cut")
	}
	if s := Short(strings.Repeat("x", 60_000)); len(s) != 256 || !strings.HasSuffix(s, "x...") {
		t.Errorf("%d bytes", len(s))
	}
	if s := Short(strings.Repeat("木", 100)); !utf8.ValidString(s) || len(s) > 256 || !strings.HasSuffix(s, "木...") {
		t.Errorf("%q", s)
	}
	if s := Short(strings.Repeat("\xff", 300)); len(s) != 256 {
		t.Errorf("%d bytes", len(s))
	}
}
