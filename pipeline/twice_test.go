// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

// loseTail cuts the active segment of the live lane at half of its lines.
func (l *lab) loseTail() {
	l.t.Helper()
	path := filepath.Join(l.c.Journal.Dir, "monitor.log")
	text, err := read(path)
	must(l.t, err)
	lines := bytes.SplitAfter(text, []byte{'\n'})
	must(l.t, os.Truncate(path, int64(len(bytes.Join(lines[:len(lines)/2], nil)))))
}

// TestAPlaceIsNeverGivenTwice: the end of the journal is lost while nothing runs, and
// one or more of those that know its places are kept. Whichever process starts first,
// each new file is pushed.
func TestAPlaceIsNeverGivenTwice(t *testing.T) {
	forget := func(names ...string) func(*lab) {
		return func(l *lab) {
			for _, name := range names {
				all, err := filepath.Glob(filepath.Join(l.c.State, name))
				must(l.t, err)
				for _, path := range all {
					must(l.t, os.RemoveAll(path))
				}
			}
		}
	}
	for what, forget := range map[string]func(*lab){
		"all are kept":       forget(),
		"the index is kept":  forget("ledger", "cursors/*"),
		"cursors are kept":   forget("index", "ledger"),
		"the ledger is kept": forget("index", "cursors/*"),
	} {
		for _, first := range []string{"watch", "push"} {
			t.Run(what+", "+first+" first", func(t *testing.T) {
				w, r := apart(t)
				w.start()
				w.swept()
				r.start()
				var old, fresh []string
				for i := range 20 {
					old = append(old, w.write(fmt.Sprint("old", i), "x"))
				}
				r.judged(old...)
				w.halt()
				r.halt()
				w.loseTail()
				forget(w)
				for i := range 15 {
					fresh = append(fresh, w.write(fmt.Sprint("new", i), "x"))
				}
				if first == "watch" {
					w.start()
					w.swept()
					r.start()
				} else {
					r.start()
					r.until("the scanner", func() bool { return len(r.p.Status().Scanners) > 0 && r.p.Status().Scanners[0].Waiting == 0 })
					w.start()
				}
				r.judged(fresh...)
				fresh = nil
				for i := range 15 {
					fresh = append(fresh, w.write(fmt.Sprint("out", i), "x")) // as long as the lost lines
				}
				r.judged(fresh...)
				// Once more: what lies on disk by now counts no new line as finished either.
				w.halt()
				r.halt()
				last := w.write("last", "x")
				r.start()
				w.start()
				r.judged(last)
				places := map[sample.At]string{}
				for _, o := range r.outcomes() {
					if was := places[o.At]; was != "" && was != o.Path {
						t.Errorf("%s was the place of %s and of %s", o.At, was, o.Path)
					}
					places[o.At] = o.Path
				}
			})
		}
	}
}
