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

// FuzzMark: marks that were read from any text are written and read back as the same
// marks. A text that is not a mark is the beginning.
func FuzzMark(f *testing.F) {
	f.Add("0123456789abcdef:40\n")
	f.Add("0123456789abcdef:40\n0123456789abcdef:80\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := disktest.New().OpenFolder("/cursors")
		if err != nil {
			t.Fatal(err)
		}
		if err := journal.SaveText(d, "clamav.mark", text); err != nil {
			t.Fatal(err)
		}
		m, told := LoadMarks(d, "clamav.mark")
		if m.offset < 0 || told != nil && told.offset < 0 {
			t.Fatalf("%q: %+v %+v", text, m, told)
		}
		if err := SaveMarks(d, "clamav.mark", m, told); err != nil {
			t.Fatal(err)
		}
		again, toldAgain := LoadMarks(d, "clamav.mark")
		if again != m || (told == nil) != (toldAgain == nil) || told != nil && *toldAgain != *told {
			t.Fatalf("%q: %+v %+v is read back as %+v %+v", text, m, told, again, toldAgain)
		}
	})
}
