// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
	"github.com/certpush/certpush/pipeline/scan"
)

// FuzzOutcome: an outcome of whatever bytes is one line of plain text that says
// them again, and tells which journal line is finished.
func FuzzOutcome(f *testing.F) {
	f.Add("/t/a", "Eicar", "limit", "clamav", uint64(1), int64(40))
	f.Fuzz(func(t *testing.T, path, signature, reason, scanner string, segment uint64, offset int64) {
		if offset < 0 || !utf8.ValidString(scanner) { // names of scanners are ours
			return
		}
		o := Outcome{Time: time.Unix(1700000000, 1), ID: "0123456789abcdef", Scanner: scanner, Path: path, Outcome: Done, Verdict: scan.Malicious, Signature: signature, Reason: reason, At: At{journal.Live, pos(segment, offset)}}
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
		d := ledgerWith(t, line)
		n := 0
		if err := readOutcomes(d, ledgerBase, 0, func(name string, at At) {
			if n++; name != scanner || at != o.At {
				t.Fatalf("%q finishes %q %v", line, name, at)
			}
		}); err != nil || n != 1 {
			t.Fatalf("%q: %d, %v", line, n, err)
		}
	})
}

func ledgerWith(t *testing.T, text []byte) journal.Folder {
	t.Helper()
	d, err := disktest.New().OpenFolder("/ledger")
	if err != nil {
		t.Fatal(err)
	}
	file, err := d.Open(ledgerBase, os.O_CREATE|os.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(text); err != nil {
		t.Fatal(err)
	}
	return d
}

// FuzzReadBack: a ledger of arbitrary bytes finishes nothing but what a whole
// line in it names.
func FuzzReadBack(f *testing.F) {
	f.Add([]byte("{\"scanner\":\"clamav\",\"at\":\"live:1:40\"}\n"), int64(0))
	f.Fuzz(func(t *testing.T, text []byte, from int64) {
		if from < 0 {
			return // a mark never says so: see FuzzMark
		}
		d := ledgerWith(t, text)
		if err := readOutcomes(d, ledgerBase, from, func(_ string, at At) {
			whole := text[min(from, int64(len(text))):]
			whole = whole[:bytes.LastIndexByte(whole, '\n')+1]
			if at.Offset < 0 || at.Lane != journal.Live && at.Lane != journal.Backlog || bytes.IndexByte(whole, ':') < 0 {
				t.Fatalf("%q finishes %v", text, at)
			}
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzFinishedLine: what is read without JSON is what JSON reads.
func FuzzFinishedLine(f *testing.F) {
	o := Outcome{Time: time.Unix(1700000000, 1), ID: "0123456789abcdef", Scanner: "clamav", Path: "/t/a", Outcome: Done, Verdict: scan.Clean, Cached: true, At: At{journal.Live, pos(3, 40)}}
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

// FuzzMark: whatever lies in a mark file, a mark comes out that is written the
// same way again; what is none is the beginning.
func FuzzMark(f *testing.F) {
	f.Add("0123456789abcdef:40\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := disktest.New().OpenFolder("/cursors")
		if err != nil {
			t.Fatal(err)
		}
		if err := journal.SaveText(d, "clamav.mark", text); err != nil {
			t.Fatal(err)
		}
		m := loadMark(d, "clamav.mark")
		if m.offset < 0 {
			t.Fatalf("%q: %+v", text, m)
		}
		if err := journal.SaveText(d, "clamav.mark", m.String()); err != nil {
			t.Fatal(err)
		}
		if again := loadMark(d, "clamav.mark"); again != m {
			t.Fatalf("%q: %+v is read back as %+v", text, m, again)
		}
	})
}

// FuzzDamageName: a name that is read is the one that is written.
func FuzzDamageName(f *testing.F) {
	f.Add("damaged-live-1-40-2-0")
	f.Fuzz(func(t *testing.T, name string) {
		if d, ok := parseDamage(name); ok && d.name() != name {
			t.Fatalf("%q is read as %+v", name, d)
		}
	})
}
