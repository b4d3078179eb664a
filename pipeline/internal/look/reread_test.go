// SPDX-License-Identifier: Apache-2.0

package look

import (
	"context"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// still is the rest of that knowledge, which is not asked for.
type still = known

// restless is the knowledge of a file with other bytes than its verdict, which changes
// while it is read.
type restless struct {
	still
	during   watch.Stat  // its version before and after
	line     index.Entry // what the index says then
	settles  bool
	vanished bool // the index does not know this version then
}

func (r restless) hash(context.Context, string) ([32]byte, watch.Stat, error) {
	return [32]byte{2}, r.during, nil
}
func (r restless) settling(string) bool                         { return r.settles }
func (r restless) known(string, watch.Stat) (index.Entry, bool) { return r.line, !r.vanished }

// TestAFileThatChangesWhileItIsReadIsNoMismatch: it settles, and is journaled again.
func TestAFileThatChangesWhileItIsReadIsNoMismatch(t *testing.T) {
	st := watch.Stat{Size: 1, Inode: 7}
	at := sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 1}}
	id := sample.OfFile("/a", st.Size, st.Mtime).ID
	for name, c := range map[string]struct {
		files  restless
		differ int64
	}{
		"it lies still":             {restless{during: st, line: index.Entry{At: at}}, 1},
		"it was written meanwhile":  {restless{line: index.Entry{At: at}}, 0},
		"another file lies there":   {restless{during: watch.Stat{Size: 1, Inode: 8}, line: index.Entry{At: at}}, 0},
		"it settles":                {restless{during: st, line: index.Entry{At: at}, settles: true}, 0},
		"it was journaled again":    {restless{during: st, line: index.Entry{At: sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 2}}}}, 0},
		"its version is not known ": {restless{during: st, vanished: true}, 0},
	} {
		v := newVerify(nil, c.files, false, true)
		v.reach = []reach{{scanner: "clamav"}}
		v.hashes[verdictOf{"clamav", id}] = [32]byte{1}
		is := v.differs(t.Context(), candidate{path: "/a", stat: st}, at, []string{sample.Done})
		if is[0] != (c.differ == 1) || v.proof.Differ != c.differ || v.proof.Read != c.differ || len(v.unlike) != int(c.differ) {
			t.Errorf("%s: %v %+v", name, is, v.proof)
		}
	}
}
