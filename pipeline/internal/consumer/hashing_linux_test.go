// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/watch"
)

// TestAFileRipensBeforeItIsRemembered: two versions can have the same ctime if they are
// less than a tick of the clock apart. So if verdicts are remembered, a file is hashed
// only when its ctime is older than a tick.
func TestAFileRipensBeforeItIsRemembered(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	o := newOpener([]config.Tree{{Path: dir}}, true)
	for range 5 {
		must(t, os.WriteFile(path, []byte("x"), 0o600))
		p := &push{line: line{sample: sample.Sample{Path: path}}}
		var out sample.Outcome
		var begun time.Time
		w := o.open(t.Context(), p, &out, func() bool { begun = time.Now(); return false })
		if young := begun.Sub(time.Unix(p.file.stat.Ctime.Sec, int64(p.file.stat.Ctime.Nsec))); w != ready || young < tick {
			t.Errorf("%d: hashed when its ctime was %v old", w, young)
		}
		p.file.shut()
	}
}

// TestHashGoesOnWhereItWas: a file that is hashed in turns has the same hash as one that
// is hashed at once.
func TestHashGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	text := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // four reads
	must(t, os.WriteFile(path, text, 0o600))
	o := newOpener([]config.Tree{{Path: dir}}, false)
	p := &push{line: line{sample: sample.Sample{Path: path}}}
	turns := 0
	turn := func() bool { turns++; return turns%2 == 0 } // one read, then enough
	var out sample.Outcome
	w := o.open(t.Context(), p, &out, turn)
	for w == parked {
		w = o.open(t.Context(), p, &out, turn)
	}
	want := fmt.Sprintf("%x", sha256.Sum256(text))
	if w != ready || out.SHA256 != want || turns < 6 {
		t.Errorf("%d after %d turns: %s, want %s", w, turns, out.SHA256, want)
	}
	p.file.shut()
	// If the file changes in between, the hash ends with an error, because it would be the
	// hash of no version. Only a bare path begins again. Both give way as before.
	for _, version := range []sample.Sample{{Path: path}, {Path: path, ID: "x", Size: int64(len(text))}} {
		p, turns = &push{line: line{sample: version}}, 0
		st, err := watch.Lstat(path)
		must(t, err)
		p.sample.Mtime = st.Mtime
		if w := o.open(t.Context(), p, &out, turn); w != parked {
			t.Fatalf("%d", w)
		}
		must(t, os.Chmod(path, 0o640))
		must(t, os.Chmod(path, 0o600))
		w := o.open(t.Context(), p, &out, turn)
		if !version.Bare() {
			if w != concluded || out.Reason != sample.ReasonChanged {
				t.Errorf("%d: %+v", w, out)
			}
			continue
		}
		if w != parked {
			t.Errorf("%d: it does not give way", w)
		}
		for w == parked {
			w = o.open(t.Context(), p, &out, turn)
		}
		if w != ready || out.SHA256 != want {
			t.Errorf("%d: %s", w, out.SHA256)
		}
		p.file.shut()
	}
}
