// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
)

// FuzzOutcome: an outcome of any bytes is one line of plain text. Read back, it has the
// same path and signature, and names the same finished journal line.
func FuzzOutcome(f *testing.F) {
	f.Add("/t/a", "Eicar", "limit", "clamav", uint64(1), int64(40))
	f.Fuzz(func(t *testing.T, path, signature, reason, scanner string, segment uint64, offset int64) {
		if offset < 0 || !utf8.ValidString(scanner) { // we choose the names of scanners
			return
		}
		o := Outcome{Time: time.Unix(1700000000, 1), ID: "0123456789abcdef", Scanner: scanner, Path: path, Outcome: Done, Verdict: scan.Malicious, Signature: signature, Reason: reason, At: At{journal.Live, journal.Pos{Segment: segment, Offset: offset}}}
		line := o.appendLine(nil)
		if bytes.Count(line, []byte{'\n'}) != 1 || line[len(line)-1] != '\n' {
			t.Fatalf("%q is not one line", line)
		}
		for _, r := range string(line[:len(line)-1]) {
			if r < 0x20 || r == 0x7f || r > 0x7f && !plain(r) {
				t.Fatalf("raw %U in %q", r, line)
			}
		}
		var back struct {
			Path      *string `json:"path"`
			Raw       []byte  `json:"path_b64"`
			Signature string  `json:"signature"`
		}
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if got := string(back.Raw); back.Path == nil && got != path || back.Path != nil && *back.Path != path {
			t.Fatalf("%q is not the path %q", line, path)
		}
		if utf8.ValidString(signature) && back.Signature != signature {
			t.Fatalf("%q is not the signature %q", line, signature)
		}
		name, at, ok := ParseFinished(line)
		if !ok || name != scanner || at != o.At {
			t.Fatalf("%q finishes %q %v %v", line, name, at, ok)
		}
	})
}

// FuzzFinishedLine: scanFinished reads what JSON reads.
func FuzzFinishedLine(f *testing.F) {
	o := Outcome{Time: time.Unix(1700000000, 1), ID: "0123456789abcdef", Scanner: "clamav", Path: "/t/a", Outcome: Done, Verdict: scan.Clean, Cached: true, At: At{journal.Live, journal.Pos{Segment: 3, Offset: 40}}}
	if _, _, ok := scanFinished(o.appendLine(nil)); !ok {
		f.Fatal("our own line is left to JSON")
	}
	f.Add(o.appendLine(nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		scanner, at, ok := scanFinished(text)
		if !ok {
			return
		}
		var l finishedLine
		if err := json.Unmarshal(text, &l); err != nil || l.Scanner != string(scanner) || l.At != string(at) {
			t.Fatalf("%q is read as %q %q, and by JSON as %+v, %v", text, scanner, at, l, err)
		}
	})
}

// FuzzDamageName: a name that ParseDamage accepts is the one that Name returns.
func FuzzDamageName(f *testing.F) {
	f.Add("damaged-live-1-40-2-0")
	f.Fuzz(func(t *testing.T, name string) {
		if d, ok := ParseDamage(name); ok && d.Name() != name {
			t.Fatalf("%q is read as %+v", name, d)
		}
	})
}

func TestDamageName(t *testing.T) {
	d := Damage{At{"live", journal.Pos{Segment: 7, Offset: 42}}, journal.Pos{Segment: 9, Offset: 0}}
	if got, ok := ParseDamage(d.Name()); !ok || got != d {
		t.Errorf("%q: %+v %v", d.Name(), got, ok)
	}
	for _, bad := range []string{"", "damaged-live-1-2-3", "damaged-live-1-2-3-4-5", "damaged-live-1-2-3-x", "clamav.live"} {
		if _, ok := ParseDamage(bad); ok {
			t.Errorf("%q is read", bad)
		}
	}
}
