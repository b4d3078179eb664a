// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// TestTakenByTheHostsAntivirusIsMalicious: a sample that another anti-virus on the host
// took is judged malicious, whether that shows when it is opened, while it is hashed, or
// while the scanner reads it. It is not tried again, and not gone.
func TestTakenByTheHostsAntivirusIsMalicious(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("some text"), 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := watch.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	the := sample.OfFile(path, st.Size, st.Mtime)
	check := func(t *testing.T, out sample.Outcome) {
		t.Helper()
		if out.Outcome != sample.Done || out.Verdict != scan.Malicious || out.Signature != sample.HostAntivirus || out.Tries != 1 || out.Reason != "" {
			t.Errorf("outcome %+v", out)
		}
	}
	t.Run("open", func(t *testing.T) {
		o := newOpener([]config.Tree{{Path: dir}}, false, true, NewCopies(1<<20), NewMetrics().uncopied.WithLabelValues("s"))
		o.from = func(_ *roots, _, rel string) (*os.File, watch.Stat, error) {
			return nil, watch.Stat{}, fmt.Errorf("open %s: %w", rel, watch.ErrTaken)
		}
		var out sample.Outcome
		if w := o.open(t.Context(), newRoots(), &push{line: line{sample: the}}, &out, func() bool { return false }); w != concluded {
			t.Errorf("way %v", w)
		}
		check(t, out)
	})
	t.Run("read", func(t *testing.T) {
		o := newOpener([]config.Tree{{Path: dir}}, false, true, NewCopies(1<<20), NewMetrics().uncopied.WithLabelValues("s"))
		o.from = func(*roots, string, string) (*os.File, watch.Stat, error) {
			f, err := os.Open(dir) // reading it fails
			return f, st, err
		}
		o.taken = func(err error) bool { return err != nil }
		p := &push{line: line{sample: the}}
		var out sample.Outcome
		if w := o.open(t.Context(), newRoots(), p, &out, func() bool { return false }); w != concluded || p.file.f != nil {
			t.Errorf("way %v, file %v", w, p.file.f)
		}
		check(t, out)
	})
	t.Run("hand over", func(t *testing.T) {
		o := newOpener([]config.Tree{{Path: dir}}, false, true, NewCopies(1<<20), NewMetrics().uncopied.WithLabelValues("s"))
		p := &push{line: line{sample: the}}
		var out sample.Outcome
		if w := o.open(t.Context(), newRoots(), p, &out, func() bool { return false }); w != ready {
			t.Fatalf("way %v", w)
		}
		defer p.file.shut()
		if !p.judge(scan.Answer{Err: &scan.Failure{Kind: scan.Unread, Err: fmt.Errorf("read: %w", watch.ErrTaken)}}, &out) {
			t.Error("no outcome")
		}
		check(t, out)
	})
}
