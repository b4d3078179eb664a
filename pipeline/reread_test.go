// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/watch"
)

// TestVerifyReadSeesOtherBytesOfTheSameVersion: a file is written anew and keeps its
// version. Here the test gives the index the version that the file has then, as a clock
// that was set back would do. A verify that does not read holds it for done.
func TestVerifyReadSeesOtherBytesOfTheSameVersion(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Trees[0].Engine, c.Trees[0].Sweep = "sweep", time.Hour
	})
	cheat, honest := l.write("cheat", "before"), l.write("honest", "before")
	l.start()
	l.await(2)
	l.until("the cursor behind both", func() bool { v := l.verify(false); return v.Done == 2 && v.Proven() })
	if v := l.reread(false); v.Read != 2 || v.Differ != 0 || !v.Proven() {
		t.Fatalf("before: %+v", v)
	}
	st, err := watch.Lstat(cheat)
	must(t, err)
	f, err := os.OpenFile(cheat, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString("after!")
	must(t, errors.Join(err, f.Close()))
	must(t, os.Chtimes(cheat, time.Time{}, time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec))))
	st, err = watch.Lstat(cheat)
	must(t, err)
	x := l.p.halves().producer.Index()
	must(t, x.Amend(t.Context(), []string{cheat}, "", func(_ string, e index.Entry) (index.Entry, bool) {
		e.Stat, e.Bytes = st, index.Plain
		return e, true
	}))
	if v := l.verify(false); v.Done != 2 || v.Read != 0 || !v.Proven() {
		t.Errorf("without reading: %+v", v)
	}
	caught := func(v Proof) {
		t.Helper()
		if v.Read != 2 || v.Differ != 1 || v.Unaccounted != 1 || v.Done != 1 || v.Queued != 0 || v.Proven() {
			t.Errorf("%+v", v)
		}
		if len(v.List) != 1 || v.List[0].Sample.Path != cheat || v.List[0].Scanner != "hashlist" || !strings.Contains(v.List[0].Why, "its bytes are not those of its verdict") {
			t.Errorf("%+v", v.List)
		}
	}
	caught(l.reread(false))
	l.halt()
	p, err := New(l.c)
	must(t, err)
	v, err := p.VerifyRead(t.Context(), false)
	must(t, err)
	caught(v)

	l.start()
	l.swept()
	if v := l.reread(true); v.Differ != 1 || v.Lacking != 1 || v.Queued != 1 {
		t.Errorf("%+v", v)
	}
	if o := l.await(3)[2]; o.Path != cheat || o.SHA256 != sumOf("after!") {
		t.Errorf("%+v", o)
	}
	if s := l.why(cheat); len(s.Lines) != 2 || s.Lines[1].Sample.Via != sample.ViaManual {
		t.Errorf("%+v", s.Lines)
	}
	l.until("the proof", func() bool { v := l.reread(true); return v.Read == 2 && v.Differ == 0 && v.Queued == 0 && v.Proven() })
	if honest := outcomesOf(l.outcomes(), honest); len(honest) != 1 {
		t.Errorf("%+v", honest)
	}
}

// TestVerifyReadEndsWithItsContext and tells nothing then.
func TestVerifyReadEndsWithItsContext(t *testing.T) {
	l := newLab(t)
	l.start()
	l.swept()
	l.judged(l.write("a", "x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := l.p.VerifyRead(ctx, false); !errors.Is(err, context.Canceled) || v.Read != 0 {
		t.Errorf("%+v %v", v, err)
	}
}

// TestVerifyReadNamesWhatItCannotRead: of such a file nothing is proven.
func TestVerifyReadNamesWhatItCannotRead(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Trees[0].Engine, c.Trees[0].Sweep = "sweep", time.Hour
	})
	path := l.write("a", "x")
	l.start()
	l.await(1)
	letGo := hold(t, path)
	l.until("a file that is not read", func() bool {
		v := l.reread(false)
		return v.NotRead == 1 && len(v.Unreadable) == 1 && filepath.Base(v.Unreadable[0].Path) == "a" && v.Unaccounted == 0 && !v.Proven()
	})
	letGo()
	if v := l.reread(false); v.Read != 1 || !v.Proven() {
		t.Errorf("%+v", v)
	}
}

func (l *lab) reread(fix bool) Proof {
	l.t.Helper()
	v, err := l.p.VerifyRead(context.Background(), fix)
	if err != nil {
		l.t.Fatal(err)
	}
	return v
}
