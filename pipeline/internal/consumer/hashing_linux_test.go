// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// testOpener returns an opener with room for copies.
func testOpener(copyAll bool, trees ...config.Tree) *opener {
	return newOpener(trees, copyAll, true, NewCopies(1<<20), NewMetrics().uncopied.WithLabelValues("s"))
}

// TestTheScannerGetsTheBytesThatWereHashed: a sample is rewritten in place, with its
// times set back, after it was hashed and before the scanner reads it. The scanner gets
// the old bytes, and nobody can change these.
func TestTheScannerGetsTheBytesThatWereHashed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, c := range []struct {
		size     int
		all, got bool
	}{{100, false, true}, {copySmall, false, true}, {copySmall + 1, false, false}, {copySmall + 1, true, true}, {1<<20 + 1, true, false}} {
		text := bytes.Repeat([]byte("x"), c.size)
		must(t, os.WriteFile(path, text, 0o600))
		o := testOpener(c.all, config.Tree{Path: dir})
		p := &push{line: line{sample: sample.Sample{Path: path}}}
		var out sample.Outcome
		if w := o.open(t.Context(), newRoots(), p, &out, func() bool { return false }); w != ready {
			t.Fatalf("%d", w)
		}
		must(t, os.WriteFile(path, bytes.Repeat([]byte("y"), c.size), 0o600))
		f := p.file.toScan()
		got := make([]byte, c.size)
		if _, err := f.Reader().ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		sum, exact := p.file.scanned(scan.Answer{})
		if same := sha256.Sum256(got) == sha256.Sum256(text); same != c.got || exact != c.got || f.Sealed != c.got || exact && sum != sha256.Sum256(got) {
			t.Errorf("%+v: the same bytes: %v, exact: %v, sealed: %v", c, same, exact, f.Sealed)
		}
		if _, err := f.F.WriteAt([]byte("z"), 0); err == nil {
			t.Errorf("%+v: it can be written", c)
		}
		p.file.shut()
		if o.copies.left != 1<<20 {
			t.Errorf("%+v: %d bytes are left", c, o.copies.left)
		}
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
	o := testOpener(false, config.Tree{Path: dir})
	p := &push{line: line{sample: sample.Sample{Path: path}}}
	turns := 0
	turn := func() bool { turns++; return turns%2 == 0 } // one read, then enough
	var out sample.Outcome
	w := o.open(t.Context(), newRoots(), p, &out, turn)
	for w == parked {
		w = o.open(t.Context(), newRoots(), p, &out, turn)
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
		if w := o.open(t.Context(), newRoots(), p, &out, turn); w != parked {
			t.Fatalf("%d", w)
		}
		must(t, os.Chmod(path, 0o640))
		must(t, os.Chmod(path, 0o600))
		w := o.open(t.Context(), newRoots(), p, &out, turn)
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
			w = o.open(t.Context(), newRoots(), p, &out, turn)
		}
		if w != ready || out.SHA256 != want {
			t.Errorf("%d: %s", w, out.SHA256)
		}
		p.file.shut()
	}
}
