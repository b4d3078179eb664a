// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"log/slog"
	"os"
	"slices"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
)

// TestFormatOfSight: a file of an older certpush is read as it was meant, and written in
// the same bytes.
func TestFormatOfSight(t *testing.T) {
	golden, err := os.ReadFile("../../../testdata/formats/sight")
	must(t, err)
	dir, err := journal.OS.OpenFolder(t.TempDir())
	must(t, err)
	defer dir.Close()
	must(t, journal.SaveText(dir, "clamav.sight", string(golden)+"not of ours\n"))
	c := Config{Scanner: config.Scanner{Name: "clamav"}, Dirs: &store.Folders{Cursors: dir}, Log: slog.New(slog.DiscardHandler)}
	r, err := newRetraction(newBooks(c), c)
	must(t, err)
	want := []witness{
		{Address: "unix:/run/clamav/clamd.ctl", Canary: scan.Plain, Mark: ledger.ParseMark("0123456789abcdef:4711").String(), Seen: true},
		{Address: "tcp:10.0.0.5:3310", Canary: scan.Depth, Mark: ledger.Mark{}.String(), Seen: true, Deep: 25 << 20, Lost: true},
	}
	if !slices.Equal(r.witnesses, want) {
		t.Errorf("%+v", r.witnesses)
	}
	must(t, r.save())
	if text, err := journal.LoadText(dir, "clamav.sight"); err != nil || text != string(golden) {
		t.Errorf("%q, %v", text, err)
	}
}
