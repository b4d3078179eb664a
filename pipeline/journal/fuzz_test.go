// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// FuzzCursor: arbitrary bytes in a cursor file are either an error, or a place that is
// the same after it was saved and loaded.
func FuzzCursor(f *testing.F) {
	f.Add("1:0\n")
	f.Add("42:209 5c5cc9d5f8a4d9b10000000000000000\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := disktest.New().OpenFolder("/cursors")
		if err != nil {
			t.Fatal(err)
		}
		if err := journal.SaveText(d, "clamav.live", text); err != nil {
			t.Fatal(err)
		}
		p, err := journal.LoadCursor(d, "clamav", journal.Live)
		if err != nil {
			return
		}
		if p.Offset < 0 {
			t.Fatalf("%q is before the segment: %v", text, p)
		}
		if p.Sum == "" { // the old form
			p.Sum = journal.SumOf(nil)
		}
		if err := journal.SaveCursor(d, "clamav", journal.Live, p); err != nil {
			t.Fatal(err)
		}
		if again, err := journal.LoadCursor(d, "clamav", journal.Live); again != p || err != nil {
			t.Fatalf("%q: %v is read back as %v, %v", text, p, again, err)
		}
	})
}

// plant makes a journal folder with these bytes.
func plant(t *testing.T, files map[string][]byte) *disktest.Disk {
	t.Helper()
	d := disktest.New()
	dir, err := d.OpenFolder("/journal")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		f, err := dir.Open(name, os.O_CREATE|os.O_WRONLY)
		if err == nil {
			_, err = f.Write(text)
		}
		if err = errors.Join(err, f.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.Sync(); err != nil {
		t.Fatal(err)
	}
	return d
}

// wholeLines returns the lines of a segment that have an end.
func wholeLines(text []byte) (all []string) {
	for {
		line, rest, whole := bytes.Cut(text, []byte{'\n'})
		if !whole {
			return all
		}
		all, text = append(all, string(line)), rest
	}
}

// FuzzRepair opens a journal of arbitrary bytes, appends, cuts, and cuts the power. No
// whole line is lost or altered, and the lines that were appended are there once.
func FuzzRepair(f *testing.F) {
	f.Add([]byte("{\"segment\":1,\"lane\":\"live\",\"format\":1}\n/a\n"), []byte("{\"segment\":2,\"lane\":\"live\",\"format\":1}\n/b\n/torn"), []byte(""))
	f.Fuzz(func(t *testing.T, sealed, active, known []byte) {
		if len(sealed)+len(active)+len(known) > 1<<16 {
			return
		}
		files := map[string][]byte{"monitor.log": active, "monitor.log.20261122-1200.log": sealed, ".segments": known}
		for range 2 { // the second time on the folder that the first repair left
			d := plant(t, files)
			s := openOn(t, d)
			if _, _, err := s.Append([]byte("/ours\n")); err != nil {
				t.Fatal(err)
			}
			if got := handedOut(t, s); len(got) == 0 || got[len(got)-1] != "/ours" {
				t.Fatalf("what was appended is not handed out last: %.200q", got)
			}
			d = d.Cut(0)
			var have []string
			for _, text := range segments(t, d) {
				have = append(have, wholeLines([]byte(text))...)
			}
			for _, text := range [][]byte{sealed, active} {
				for _, line := range wholeLines(text) {
					i := slices.Index(have, line)
					if i < 0 {
						t.Fatalf("line %.200q is lost; left are %.500q", line, have)
					}
					have = slices.Delete(have, i, i+1)
				}
			}
			if i := slices.Index(have, "/ours"); i < 0 {
				t.Fatalf("what was appended is lost: %.500q", have)
			}
			active = append(slices.Clone(active), "/more"...)
			files["monitor.log"] = active
		}
	})
}
