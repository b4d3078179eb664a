// SPDX-License-Identifier: Apache-2.0

package look

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestVerifyHoldsNoOutcomesOfWhatIsGone: the memory of a verify grows with the files
// that are there, not with the ledger. It does not keep outcomes of files that are
// gone.
func TestVerifyHoldsNoOutcomesOfWhatIsGone(t *testing.T) {
	state, tree := t.TempDir(), t.TempDir()
	trees, err := config.FillTrees([]config.Tree{{Path: tree}})
	must(t, err)
	log, disk := slog.New(slog.DiscardHandler), store.Disk{Disk: journal.OS, Pebble: vfs.Default}
	c := Config{State: state, Journal: filepath.Join(state, "journal"), Trees: trees, Scanners: []config.Scanner{{Name: "hashlist"}}, Disk: disk, Log: log}
	path := filepath.Join(tree, "a")
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	st, err := watch.Lstat(path)
	must(t, err)

	lanes, err := journal.OpenLanes(journal.Config{Disk: disk, Dir: c.Journal}, time.Minute, log)
	must(t, err)
	s := sample.OfFile(path, st.Size, st.Mtime)
	s.Seen, s.Via = time.Now(), sample.ViaEvent
	at, after, err := lanes.Lane(journal.Live).Append(sample.AppendLine(nil, s))
	must(t, err)
	must(t, lanes.Close())
	x, err := index.Open(t.Context(), disk, filepath.Join(state, "index"), log)
	must(t, err)
	must(t, x.Note(t.Context(), journal.Live, []index.Noted{{Path: path, Stat: st, At: at}}, after))
	must(t, x.Close())
	led, err := ledger.Open(disk, filepath.Join(state, "ledger"), ledger.Bounds{Keep: 1, Max: -1, MinFree: -1}, log)
	must(t, err)
	outs := []sample.Outcome{{Time: time.Now(), ID: s.ID, Scanner: "hashlist", Path: path, Outcome: sample.Done, Verdict: "unscanned", At: sample.At{Lane: journal.Live, Pos: at}}}
	for i := range 100_000 {
		outs = append(outs, sample.Outcome{ID: fmt.Sprintf("%016x", i), Scanner: "hashlist", Path: fmt.Sprintf("/srv/%d", i), Outcome: []string{sample.Gone, sample.Dead}[i%2], At: sample.At{Lane: "live", Pos: journal.Pos{Segment: 1, Offset: int64(i+1) * 200}}})
	}
	must(t, led.Record(outs))
	must(t, led.Close())

	a, err := Open(c, true)
	must(t, err)
	rest, err := newAtRest(t.Context(), a)
	must(t, err)
	v := newVerify(a, rest, false, false)
	proof, err := v.run(t.Context())
	if err != nil || !proof.Proven() || proof.Done != 1 {
		t.Errorf("%+v %v", proof, err)
	}
	if len(v.ended) > 1 {
		t.Errorf("%d outcomes are kept for one file", len(v.ended))
	}
	must(t, rest.close())
	must(t, a.Close())
}
