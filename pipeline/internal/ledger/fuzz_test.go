// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"os"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

func ledgerWith(t *testing.T, text []byte) journal.Folder {
	t.Helper()
	d, err := disktest.New().OpenFolder("/ledger")
	if err != nil {
		t.Fatal(err)
	}
	file, err := d.Open(Base, os.O_CREATE|os.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(text); err != nil {
		t.Fatal(err)
	}
	return d
}

// FuzzReadBack: in a ledger of arbitrary bytes only whole lines finish something.
func FuzzReadBack(f *testing.F) {
	f.Add([]byte("{\"scanner\":\"clamav\",\"at\":\"live:1:40\"}\n"), int64(0))
	f.Fuzz(func(t *testing.T, text []byte, from int64) {
		if from < 0 {
			return // no mark has a negative offset: see FuzzMark
		}
		d := ledgerWith(t, text)
		if err := readOutcomes(t.Context(), d, Base, from, func(_ string, at sample.At, _ []byte) {
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

// FuzzMark: a mark that was read from any text is written and read back as the same
// mark. A text that is not a mark is the beginning.
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
		m := LoadMark(d, "clamav.mark")
		if m.offset < 0 {
			t.Fatalf("%q: %+v", text, m)
		}
		if err := journal.SaveText(d, "clamav.mark", m.String()); err != nil {
			t.Fatal(err)
		}
		if again := LoadMark(d, "clamav.mark"); again != m {
			t.Fatalf("%q: %+v is read back as %+v", text, m, again)
		}
	})
}
