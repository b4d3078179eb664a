// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
)

// TestPathsOfLinesStayBelowTheirTree: the path of a line is opened beneath its tree and
// nowhere else, in each form in which it can be written. If there are no trees it is
// opened beneath the volume.
func TestPathsOfLinesStayBelowTheirTree(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	for _, p := range []string{filepath.Join(tree, "d"), filepath.Join(dir, "tree2")} {
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{filepath.Join(tree, "d", "f"), filepath.Join(dir, "f"), filepath.Join(dir, "tree2", "f")} {
		if err := os.WriteFile(p, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	try := func(o *opener, path string) sample.Outcome {
		p := &push{line: line{sample: sample.Sample{Path: path, Via: sample.ViaManual}}}
		var out sample.Outcome
		if o.open(t.Context(), newRoots(), p, &out, func() bool { return false }) == ready {
			out.Outcome = "ready"
		}
		p.file.shut()
		return out
	}
	for _, o := range []*opener{newOpener([]config.Tree{{Path: tree}}, false, true, NewCopies(1<<20), NewMetrics().uncopied.WithLabelValues("s")), newOpener(nil, false, true, NewCopies(1<<20), NewMetrics().uncopied.WithLabelValues("s"))} {
		for _, path := range append(ways(filepath.Join(tree, "d", "f")), filepath.Join(tree, "d", ".", "f"), tree+string(filepath.Separator)+filepath.Join("..", "tree", "d", "f")) {
			if out := try(o, path); out.Outcome != "ready" {
				t.Errorf("%q: %+v", path, out)
			}
		}
		for _, path := range append(strangers(tree), "", "f", filepath.Join("d", "f")) {
			if out := try(o, path); out.Outcome != sample.Skipped || out.Reason != sample.ReasonOutside {
				t.Errorf("%q: %+v", path, out)
			}
		}
	}
	o := newOpener([]config.Tree{{Path: tree}}, false, true, NewCopies(1<<20), NewMetrics().uncopied.WithLabelValues("s"))
	for _, path := range []string{filepath.Join(dir, "f"), filepath.Join(dir, "tree2", "f"), filepath.Join(tree, "..", "f")} {
		if out := try(o, path); out.Outcome != sample.Skipped || out.Reason != sample.ReasonOutside {
			t.Errorf("%q: %+v", path, out)
		}
	}
}
