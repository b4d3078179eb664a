// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// TestMovedAwayAndBack: a folder is away when its file is to be pushed, and is back
// later. The file is the version that was journaled, and it is pushed nevertheless.
func TestMovedAwayAndBack(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, "tcp")
	d.Set(scantest.Refuse)
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Sight = -1 }))
	path := l.write("d/f", "x")
	dir, away := filepath.Dir(path), filepath.Join(t.TempDir(), "away")
	l.start()
	l.until("its line", func() bool { return len(l.lines("backlog")) == 1 })
	l.swept() // later this sweep would forget the file itself
	must(t, os.Rename(dir, away))
	d.Set(scantest.Proper)
	if o := l.await(1)[0]; o.Outcome != sample.Gone {
		t.Fatalf("%+v", o)
	}
	must(t, os.Rename(away, dir))
	if o := l.await(2)[1]; o.Path != path || o.Outcome != sample.Done {
		t.Errorf("%+v", o)
	}
}
