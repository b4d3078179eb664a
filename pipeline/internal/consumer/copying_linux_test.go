// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
)

// TestWhatIsStreamedIsReadOnce: a small sample for a scanner that gets its bytes is read
// once, into memory. What its owner writes afterwards is not what the scanner gets. One
// that gets descriptors gets a sealed one.
func TestWhatIsStreamedIsReadOnce(t *testing.T) {
	for _, passes := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a")
		if err := os.WriteFile(path, []byte("the first bytes"), 0o600); err != nil {
			t.Fatal(err)
		}
		o := newOpener([]config.Tree{{Path: dir}}, false, passes, NewCopies(1<<20), NewMetrics().uncopied.WithLabelValues("s"))
		reads := 0
		o.readAt = func(f *os.File, b []byte, off int64) (int, error) { reads++; return f.ReadAt(b, off) }
		p, out := &push{line: line{sample: sample.Sample{Path: path}}}, sample.Outcome{}
		if w := o.open(t.Context(), newRoots(), p, &out, func() bool { return false }); w != ready {
			t.Fatalf("way %v", w)
		}
		f := p.file.toScan()
		if err := os.WriteFile(path, []byte("the other bytes"), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(f.Reader(), 0, f.Size))
		if err != nil || string(got) != "the first bytes" || reads != 1 || !f.Sealed || f.InMemory() == passes {
			t.Errorf("passes %v: %q %v, %d reads, sealed %v, in memory %v", passes, got, err, reads, f.Sealed, f.InMemory())
		}
		if passes {
			if _, err := f.F.WriteAt([]byte("x"), 0); err == nil {
				t.Error("what is passed can be written")
			}
		}
		p.file.shut()
	}
}
