// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
	"github.com/certpush/certpush/pipeline/watch"
)

// TestWrittenThroughAMapWhileItIsJudged: no time of the file tells of such a write. So
// if another program has the file open to write when we open it, the outcome has no
// SHA-256, and the verdict is not cached.
func TestWrittenThroughAMapWhileItIsJudged(t *testing.T) {
	l, d := remembering(t, "unix")
	d.Set(scantest.Refuse)
	l.start()
	l.swept()
	path := l.write("a", eicar())
	l.until("its line", func() bool { return len(l.lines("live")) == 1 })
	st, err := os.Stat(path)
	must(t, err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, len(eicar()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	m[0] = eicar()[0] // the page is dirty from now on
	must(t, os.Chtimes(path, st.ModTime(), st.ModTime()))
	if f2, err := os.Open(path); err != nil || !watch.Writing(f2) {
		t.Skip("this file system does not tell of writers")
	} else {
		must(t, f2.Close())
	}
	var once sync.Once
	l.meddle(len(eicar()), func() { once.Do(func() { copy(m, bytes.Repeat([]byte("x"), len(m))) }) })
	d.Set(scantest.Proper)
	if o := l.await(1)[0]; o.Outcome != sample.Done || !fits(o) {
		t.Errorf("under its writer's hands: %+v", o)
	}
	must(t, unix.Munmap(m))
	must(t, f.Close())
	other := l.write("b", eicar())
	l.judged(other)
	if o := outcomesOf(l.outcomes(), other)[0]; o.Verdict != scan.Malicious || !fits(o) {
		t.Errorf("the bytes that the scanner never saw: %+v", o)
	}
	l.until("what was written is pushed", func() bool {
		all := outcomesOf(l.outcomes(), path)
		return all[len(all)-1].SHA256 == sumOf(strings.Repeat("x", len(eicar())))
	})
}
