// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/consumer"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// meddler is a Scanner that calls before with each file just before the scanner gets
// it.
type meddler struct {
	scan.Scanner
	before func(scan.File)
}

func (m *meddler) Scan(ctx context.Context, files iter.Seq[scan.File]) []scan.Answer {
	return m.Scanner.Scan(ctx, func(yield func(scan.File) bool) {
		for f := range files {
			if m.before(f); !yield(f) {
				return
			}
		}
	})
}

// Passes implements scan.Passing.
func (m *meddler) Passes() bool {
	to, is := m.Scanner.(scan.Passing)
	return is && to.Passes()
}

// Rest implements scan.Keeping.
func (m *meddler) Rest() {
	if k, is := m.Scanner.(scan.Keeping); is {
		k.Rest()
	}
}

// meddlers is a meddler for each address of its scanner.
type meddlers struct {
	meddler
	to scan.Addressed
}

func (m *meddlers) Addresses() []string { return m.to.Addresses() }

func (m *meddlers) At(addresses []string) scan.Scanner {
	return &meddler{m.to.At(addresses), m.before}
}

// meddle sets before to be called just before the scanner gets a file of this size.
func (l *lab) meddle(size int, before func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.meddling = func(f scan.File) {
		if f.Size == int64(size) {
			before()
		}
	}
}

// meddled returns the scanner for s, wrapped in a meddler.
func (l *lab) meddled(s config.Scanner, log *slog.Logger) (scan.Scanner, error) {
	sc, err := consumer.Scanner(s, log)
	m := meddler{sc, func(f scan.File) {
		l.mu.Lock()
		meddle := l.meddling
		l.mu.Unlock()
		meddle(f)
	}}
	if to, is := sc.(scan.Addressed); is {
		return &meddlers{m, to}, err
	}
	return &m, err
}

// remembering returns a lab with one scanner, which has a cache.
func remembering(t *testing.T, network string) (*lab, *scantest.Server) {
	d := scantest.Start(t, network)
	return newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Cache, s.Workers = time.Hour, 1 })), d
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// rewrite writes harmless bytes to path and sets its times back.
func rewrite(t *testing.T, path string) {
	st, err := os.Stat(path)
	must(t, err)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.Write(bytes.Repeat([]byte("x"), int(st.Size())))
	must(t, err)
	must(t, f.Close())
	must(t, os.Chtimes(path, st.ModTime(), st.ModTime()))
}

// TestAVerdictIsNotTakenForOtherBytes: a file is rewritten after it was hashed, with
// the same size and mtime. The verdict on the new bytes is not recorded for the old
// ones, and not cached. The new ones are pushed.
func TestAVerdictIsNotTakenForOtherBytes(t *testing.T) {
	for _, network := range scantest.Networks() {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			l, _ := remembering(t, network)
			l.start()
			l.swept()
			path := l.drop + string(os.PathSeparator) + "a"
			var once sync.Once
			l.meddle(len(eicar()), func() { once.Do(func() { rewrite(t, path) }) })
			l.write("a", eicar())
			l.until("its verdict", func() bool {
				all := l.outcomes()
				return len(all) > 0 && all[len(all)-1].Outcome == sample.Done
			})
			all := l.outcomes()
			last := len(all) - 1
			if last == 0 {
				t.Error("rewritten while it was judged, and not pushed again")
			}
			// A line may be written between the new bytes and the old times: it is
			// skipped too.
			for _, o := range all[:last] {
				if o.Outcome != sample.Skipped || o.Reason != sample.ReasonChanged || o.Verdict != "" || o.SHA256 != "" {
					t.Errorf("rewritten while it was judged: %+v", o)
				}
			}
			if o := all[last]; o.Outcome != sample.Done || o.Verdict != scan.Clean || o.SHA256 == "" || o.SHA256 == sumOf(eicar()) {
				t.Errorf("what was written: %+v", o)
			}
			for _, name := range []string{"b", "c"} {
				n := len(l.outcomes())
				l.write(name, eicar())
				if o := l.await(n + 1)[n]; o.Verdict != scan.Malicious || o.SHA256 != sumOf(eicar()) {
					t.Errorf("the bytes that the scanner never saw: %+v", o)
				}
			}
		})
	}
}

// fits reports whether an outcome has the SHA-256 of EICAR exactly if the verdict says so.
func fits(o sample.Outcome) bool {
	return o.SHA256 != "" && (o.Verdict == scan.Malicious) == (o.SHA256 == sumOf(eicar()))
}

// TestAFileThatNeverSettlesHasTheSumOfWhatWasScanned: it is pushed while it is written.
// The verdict and the SHA-256 are of the bytes that the scanner got.
func TestAFileThatNeverSettlesHasTheSumOfWhatWasScanned(t *testing.T) {
	for _, network := range scantest.Networks() {
		for _, writes := range []bool{true, false} {
			t.Run(network, func(t *testing.T) {
				t.Parallel()
				l, _ := remembering(t, network)
				l.c.Trees[0].SettleLimit = 300 * time.Millisecond
				l.start()
				l.swept()
				path := l.drop + string(os.PathSeparator) + "a"
				f, err := os.Create(path)
				must(t, err)
				defer f.Close()
				_, err = f.WriteString(eicar())
				must(t, err)
				var once sync.Once
				l.meddle(len(eicar()), func() {
					once.Do(func() {
						if writes {
							_, err := f.WriteAt(bytes.Repeat([]byte("x"), len(eicar())), 0)
							must(t, err)
						}
					})
				})
				if o := l.await(1)[0]; o.Outcome != sample.Done || o.Verdict != scan.Malicious || !fits(o) || o.Cached {
					t.Errorf("pushed as found: %+v", o)
				}
				// The writer may have written through a memory map until now.
				must(t, f.Close())
				l.until("its push once it has settled", func() bool { return len(outcomesOf(l.outcomes(), path)) == 2 })
				if o := outcomesOf(l.outcomes(), path)[1]; o.Outcome != sample.Done || !fits(o) || (o.Verdict == scan.Clean) != writes {
					t.Errorf("settled: %+v", o)
				}
				other := l.write("b", eicar())
				l.judged(other)
				if o := outcomesOf(l.outcomes(), other)[0]; o.Verdict != scan.Malicious || !fits(o) {
					t.Errorf("the bytes that the scanner never saw: %+v", o)
				}
			})
		}
	}
}

// TestNewRightsAndNamesWhileItIsJudged: a new mode or name changes only the ctime, and
// so may new bytes. So the file is pushed once more, and then it has its verdict.
func TestNewRightsAndNamesWhileItIsJudged(t *testing.T) {
	for name, do := range map[string]func(path string) error{
		"chmod":     func(path string) error { return os.Chmod(path, 0o400) },
		"hard link": func(path string) error { return os.Link(path, path+"-beside") },
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			l, _ := remembering(t, scantest.Networks()[0])
			l.c.Trees[0].Exclude = []string{"*-beside"}
			l.start()
			l.swept()
			path := l.drop + string(os.PathSeparator) + "a"
			var once sync.Once
			l.meddle(len(eicar()), func() { once.Do(func() { must(t, do(path)) }) })
			l.write("a", eicar())
			all := l.await(2)
			if all[0].Outcome != sample.Skipped || all[0].Reason != sample.ReasonChanged || all[1].Outcome != sample.Done || all[1].Verdict != scan.Malicious {
				t.Errorf("%+v", all)
			}
			l.until("nothing waits", func() bool { return l.p.Status().Scanners[0].Waiting == 0 })
			if n := len(l.outcomes()); n != 2 {
				t.Errorf("%d outcomes", n)
			}
		})
	}
}

// TestRightsThatChangeWithEveryPushEndInAVerdict: the ctime of a file changes at each
// push. After a few lines it has its outcome, and no line follows.
func TestRightsThatChangeWithEveryPushEndInAVerdict(t *testing.T) {
	l, _ := remembering(t, scantest.Networks()[0])
	l.c.Trees[0].Engine = "sweep" // no event tells of the change: the consumer gives the path back to settle
	l.start()
	l.swept()
	path := l.drop + string(os.PathSeparator) + "a"
	mode := os.FileMode(0o400)
	l.meddle(len(eicar()), func() {
		mode ^= 0o200
		must(t, os.Chmod(path, mode))
	})
	l.write("a", eicar())
	must(t, l.p.Sweep(""))
	const restlessAfter = 3
	all := l.await(restlessAfter + 1)
	l.until("nothing waits", func() bool { return l.p.Status().Scanners[0].Waiting == 0 })
	for i, o := range all {
		if i < restlessAfter && o.Reason != sample.ReasonChanged || i == restlessAfter && (o.Verdict != scan.Malicious || !fits(o)) {
			t.Errorf("outcome %d: %+v", i, o)
		}
	}
	if n := len(l.outcomes()); n != restlessAfter+1 {
		t.Errorf("%d outcomes", n)
	}
}

// TestDeletedWhileItIsJudged: the file cannot be pushed again, so the verdict is
// recorded.
func TestDeletedWhileItIsJudged(t *testing.T) {
	l, _ := remembering(t, scantest.Networks()[0])
	l.start()
	l.swept()
	path := l.drop + string(os.PathSeparator) + "a"
	l.meddle(len(eicar()), func() { must(t, os.Remove(path)) })
	l.write("a", eicar())
	if o := l.await(1)[0]; o.Outcome != sample.Done || o.Verdict != scan.Malicious || !fits(o) {
		t.Errorf("%+v", o)
	}
}
