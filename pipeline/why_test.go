// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan/scantest"
	"github.com/certpush/certpush/pipeline/watch"
)

// failing lets a fake clamd judge, with two tries.
func failing(d *scantest.Server) func(*Config) {
	return func(c *Config) {
		c.Scanners = []config.Scanner{{Name: "clam", Addresses: []string{d.Addr()}, Tries: 2, BackoffFirst: time.Millisecond, BackoffMax: time.Millisecond}}
	}
}

func (l *lab) why(key string) Story {
	l.t.Helper()
	s, err := l.p.Why(context.Background(), key)
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

func TestWhyTellsTheWholeStory(t *testing.T) {
	d := scantest.Start(t, "tcp")
	d.SetFailOn("bad sample")
	l := newLab(t, failing(d))
	l.start()
	l.swept()
	bad, good := l.write(hostileNames()[0], "bad sample"), l.write("good", eicar())
	all := l.await(2)
	l.until("a saved cursor", func() bool { return len(l.why(bad).Waiting) == 0 })
	s := l.why(bad)
	if len(s.Lines) != 1 || s.Lines[0].Sample.Path != bad || s.Lines[0].Sample.Via != sample.ViaEvent || len(s.Outcomes) != 1 || s.Outcomes[0].Outcome != sample.Dead {
		t.Errorf("bad: %+v", s)
	}
	if len(s.Tries) != 2 || s.Tries[0].Try != 1 || s.Tries[1].Try != 2 || !strings.HasPrefix(s.Tries[0].Reason, "refused: ") && !strings.HasPrefix(s.Tries[0].Reason, "unclear: ") {
		t.Errorf("its tries: %+v", s.Tries)
	}
	o := outcomesOf(all, good)[0]
	byPath := l.why(good)
	if len(byPath.Lines) != 1 || len(byPath.Outcomes) != 1 || byPath.Outcomes[0].Signature != o.Signature || len(byPath.Tries) != 0 {
		t.Errorf("by path: %+v", byPath)
	}
	for _, key := range []string{o.SHA256, o.ID, o.At.String()} {
		if s := l.why(key); !reflect.DeepEqual(s.Outcomes, byPath.Outcomes) || len(s.Lines) != 1 || s.Lines[0].At != o.At.String() {
			t.Errorf("by %s: %+v", key, s)
		}
	}
	// A story that was written as JSON and read back is the same, whatever the name.
	text, err := json.Marshal(s)
	var back Story
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil || back.Lines[0].Sample.Path != bad || back.Outcomes[0].Path != bad || back.Tries[1].Path != bad || strings.Contains(string(text), "\x1b") || strings.Contains(string(text), "\xff") {
		t.Errorf("%v %s", err, text)
	}
	if _, err := l.p.Why(context.Background(), "good"); err == nil {
		t.Error("a name without a folder is accepted")
	}
	if s := l.why(l.drop + "/never"); len(s.Lines)+len(s.Outcomes)+len(s.Waiting) != 0 {
		t.Errorf("never seen: %+v", s)
	}
}

func TestWhyTellsWhatWaits(t *testing.T) {
	d := scantest.Start(t, "tcp")
	d.Set(scantest.Refuse)
	l := newLab(t, failing(d))
	l.start()
	l.swept()
	path := l.write("a", "one")
	l.until("the journal line", func() bool { return len(l.why(path).Lines) == 1 })
	s := l.why(path)
	if len(s.Waiting) != 1 || s.Waiting[0] != (Pending{Scanner: "clam", At: s.Lines[0].At}) || len(s.Outcomes) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWhyOfABarePath(t *testing.T) {
	l := newLab(t)
	path := l.write("bare", "one")
	l.start()
	l.swept()
	f, err := os.OpenFile(filepath.Join(l.c.State, "journal", "monitor.log"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(path + "\n"); err != nil {
		t.Fatal(err)
	}
	l.await(2) // one for the line of the sweep, one for the bare line
	s := l.why(path)
	if len(s.Lines) != 2 || len(s.Outcomes) != 2 || !slices.ContainsFunc(s.Lines, func(j Journaled) bool { return j.Sample.Bare() }) {
		t.Errorf("%+v", s)
	}
}

// TestLooksAtRest: while nothing runs, a look holds the locks of the state.
func TestLooksAtRest(t *testing.T) {
	l := newLab(t)
	l.start()
	path := l.write("a", eicar())
	l.await(1)
	if p, err := New(l.c); err != nil {
		t.Fatal(err)
	} else if _, err := p.Why(context.Background(), path); !errors.Is(err, ErrLocked) {
		t.Errorf("beside a running one: %v", err)
	}
	l.halt()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("not ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(l.c.State, "index", "LOCK")
	if err := os.Remove(lock); err != nil && !errors.Is(err, fs.ErrNotExist) { // Windows removes it at its close
		t.Fatal(err)
	}
	planted := symlink(victim, lock)
	before := owned(t, l.c.State)
	p, err := New(l.c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Why(context.Background(), path)
	if err != nil || len(s.Lines) != 1 || len(s.Outcomes) != 1 || len(s.Waiting) != 0 {
		t.Errorf("%+v %v", s, err)
	}
	if all, err := p.Dead(context.Background()); err != nil || len(all) != 0 {
		t.Errorf("%+v %v", all, err)
	}
	if v, err := p.Verify(context.Background(), false); err != nil || !v.Proven() || v.Files != 1 || v.Done != 1 {
		t.Errorf("%+v %v", v, err)
	}
	// A look must leave no files there that the service's user may not open, and follow no
	// link in place of a lock.
	if after := owned(t, l.c.State); !reflect.DeepEqual(before, after) {
		t.Errorf("looking left %q, before %q", after, before)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "not ours" {
		t.Errorf("a planted link was followed: %q, %v", text, err)
	}
	if planted {
		if err := os.Remove(lock); err != nil {
			t.Fatal(err)
		}
	}
	l.start()
	l.swept()
	l.halt()
	none := l.c
	none.State = filepath.Join(t.TempDir(), "none")
	if p, err = New(none); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Why(context.Background(), path); !errors.Is(err, store.ErrNoState) {
		t.Errorf("without a state: %v", err)
	}
	if _, err := os.Stat(none.State); err == nil {
		t.Error("looking made a state folder")
	}
}

// owned returns the paths of all files below dir.
func owned(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// BenchmarkWhy looks for one sample in 400 segments of journal and ledger. The segments
// of the ledger are full, 64 MiB each.
func BenchmarkWhy(b *testing.B) {
	const each = 2000
	segments := 400
	if os.Getenv("BENCH") == "short" {
		segments = 4
	}
	sampleAt := func(i, k int) sample.Sample {
		return noticed(fmt.Sprintf("/srv/in/%d/%d", i, k), 4096, watch.Time{Sec: int64(i*each + k)})
	}
	h := newHistory(b)
	for i := range segments {
		for k := range each {
			h.judged(sampleAt(i, k), fmt.Sprintf("%064x", i*each+k))
		}
		h.cut()
	}
	h.end()
	// One file stands for all full segments.
	full := filepath.Join(h.c.State, "ledger", ledger.Base+".20200101-0000.log")
	f, err := os.Create(full)
	if err != nil {
		b.Fatal(err)
	}
	line := []byte{}
	for n, k := 0, 0; n < 64<<20; k++ {
		s := noticed(fmt.Sprintf("/srv/full/%d", k), 4096, watch.Time{})
		o := sample.Outcome{Time: s.Seen, ID: s.ID, Scanner: config.DefaultScanner, Path: s.Path, Size: s.Size, SHA256: fmt.Sprintf("%064x", ^k), Outcome: sample.Done, Verdict: "clean", Tries: 1, At: sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 1, Offset: int64(k)}}}
		line = sample.AppendLine(line[:0], o)
		n += len(line)
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	h.keys("")
	b.Run("keys of a full segment", func(b *testing.B) {
		for b.Loop() {
			h.keys(filepath.Base(full))
		}
	})
	stem := strings.TrimSuffix(full, ".log")
	for i := 1; i < segments; i++ {
		for _, end := range []string{".log", ".keys"} {
			if err := os.Link(stem+end, fmt.Sprintf("%s_%06d%s", stem, i, end)); err != nil {
				b.Fatal(err)
			}
		}
	}
	s := sampleAt(segments/2, 7)
	for name, key := range map[string]string{"path": s.Path, "sha256": fmt.Sprintf("%064x", segments/2*each+7), "id": s.ID} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s, err := h.p.Why(context.Background(), key)
				if err != nil || len(s.Lines) != 1 || len(s.Outcomes) != 1 {
					b.Fatalf("%+v %v", s, err)
				}
			}
		})
	}
}
