// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// abrupt is a scanner whose sessions end after the first file: void if there was none
// before, with a verdict after that, or with no answer at all.
type abrupt struct {
	scan.Scanner
	answers func(session int) []scan.Answer
	n       int
}

func (a *abrupt) Scan(_ context.Context, files iter.Seq[scan.File]) []scan.Answer {
	a.n++
	for range files {
		return a.answers(a.n)
	}
	return nil
}

// TestScanTellsOfEveryFile, also where a session ends before it comes to all of them.
func TestScanTellsOfEveryFile(t *testing.T) {
	void := scan.Answer{Err: &scan.Failure{Kind: scan.Void, Err: errors.New("test: void")}}
	for name, answers := range map[string]func(int) []scan.Answer{
		"void, then clean": func(n int) []scan.Answer {
			if n == 1 {
				return []scan.Answer{void}
			}
			return []scan.Answer{{Verdict: scan.Clean}}
		},
		"no answer": func(int) []scan.Answer { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for i := range 6 {
				must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("x"), 0o600))
			}
			told := map[string]string{}
			s := config.Scanner{Name: "s", Workers: 4, Sight: -1}
			to := []reached{{s, newSights(Config{Scanner: s, Scan: &abrupt{answers: answers}}, forgetful{})}}
			must(t, scanBelow(t.Context(), dir, nil, to, func(o sample.Outcome) { told[filepath.Base(o.Path)] += o.Outcome }))
			for i := range 6 {
				if o := told[fmt.Sprint(i)]; o != sample.Done && o != sample.Dead {
					t.Errorf("file %d: %q", i, o)
				}
			}
		})
	}
}
