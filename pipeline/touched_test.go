// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// sweeps lets sweeps find what no event tells: Wine tells of no touch.
func sweeps(c *Config) { c.Trees[0].Sweep = time.Second }

// TestTheSameBytesAreNotPushedAgain: touch, chmod, rename, and a copy in the file's place
// make new versions. Each has its outcome, by the verdict that the same bytes had. After a
// new version of the scanner, and for other bytes, the scanner is asked.
func TestTheSameBytesAreNotPushedAgain(t *testing.T) {
	t.Parallel()
	for _, network := range scantest.Networks() {
		t.Run(network, func(t *testing.T) {
			d := scantest.Start(t, network)
			l := newLab(t, clamd(d.Addr()), sweeps)
			l.start()
			l.swept()
			const text = "harmless bytes"
			path := l.write("a", text)
			l.await(1)
			pushes := 1
			// does waits for one more outcome of a path that the scanner has or has not seen. On
			// a busy machine the scanner may not tell its version within a second, and then the
			// file is pushed; so is one whose times changed in between.
			does := func(what, path string, cached bool, do func() error) {
				t.Helper()
				l.until("nothing waits", func() bool { return l.p.Status().Scanners[0].Waiting == 0 })
				was := len(outcomesOf(l.outcomes(), path))
				must(t, do())
				l.until(what, func() bool { return len(outcomesOf(l.outcomes(), path)) > was })
				o := outcomesOf(l.outcomes(), path)[was]
				if cached && !o.Cached && testing.Short() { // under Wine
					pushes++
					return
				}
				if o.Outcome != sample.Done || o.Verdict != scan.Clean || o.Cached != cached || o.SHA256 != sumOf(text) {
					t.Errorf("%s: %+v", what, o)
				}
			}
			hour := time.Now().Add(-time.Hour)
			does("touch", path, true, func() error { return os.Chtimes(path, hour, hour) })
			moved := filepath.Join(l.drop, "b")
			does("rename", moved, true, func() error { return os.Rename(path, moved) })
			other := filepath.Join(t.TempDir(), "copy")
			must(t, os.WriteFile(other, []byte(text), 0o600))
			does("a copy in its place", moved, true, func() error { return os.Rename(other, moved) })
			if n := d.Count([]byte(text)); n != pushes {
				t.Errorf("it was pushed %d times", n)
			}
			d.SetVersion("ClamAV 1.4.3/27009/scantest")
			<-time.After(time.Second) // the version that the scanner told last holds so long
			does("touch after an update", moved, false, func() error { return os.Chtimes(moved, hour, hour.Add(time.Minute)) })
			if n := d.Count([]byte(text)); n != pushes+1 {
				t.Errorf("it was pushed %d times", n)
			}
		})
	}
}

// TestAMarkAfterTheVerdictFeedsNothing: a script changes the mode of each file that is
// clean. That is a new version, and its outcome sets the script off again. No byte goes to
// the scanner for it, but where the scanner did not tell its version within a second: then
// nothing is remembered.
func TestAMarkAfterTheVerdictFeedsNothing(t *testing.T) {
	t.Parallel()
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr()), sweeps)
	note := l.c.Outcome
	l.c.Outcome = func(o sample.Outcome) {
		note(o)
		if o.Verdict == scan.Clean {
			_ = os.Chtimes(o.Path, time.Now(), time.Now()) // the file is there, and ours
		}
	}
	l.start()
	l.swept()
	for i := range 5 {
		l.write(fmt.Sprint(i), fmt.Sprint("harmless ", i))
	}
	l.until("each has gone round a few times without a push", func() bool {
		n := 0
		for _, o := range l.outcomes() {
			if o.Cached {
				n++
			}
		}
		return n > 20
	})
}
