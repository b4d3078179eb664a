// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// TestOnlyWhatIsDurableIsTold: what was written and not synced lies behind the end, and no
// story tells it, also in a segment that has nothing else.
func TestOnlyWhatIsDurableIsTold(t *testing.T) {
	d := disktest.New()
	l := openOn(t, d)
	mark := ""
	tells := func(want string) {
		t.Helper()
		var told []string
		next, err := l.Story().Next(mark, 9, func(text []byte) {
			o, err := sample.ParseOutcome(text)
			if err != nil {
				t.Error(err)
			}
			told = append(told, o.Path)
		})
		if err != nil || strings.Join(told, " ") != want {
			t.Errorf("%q are told (%v), want %q", told, err, want)
		}
		mark = next
	}
	for _, path := range []string{"/a", "/b"} {
		was := l.End()
		w, err := l.Write([]sample.Outcome{of(path)})
		if err != nil {
			t.Fatal(err)
		}
		tells("")
		if end := l.End(); end != was {
			t.Errorf("the end is %v before the sync of %s, and was %v", end, path, was)
		}
		if err := l.Sync(w); err != nil {
			t.Fatal(err)
		}
		tells(path)
		if err := l.Cut(time.Date(2030, 1, 1, len(mark), 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestASyncThatFailsTakesBackAllItCovered: also of those who wrote and did not ask for it.
// The lines are gone from the file, and what is recorded after them is there.
func TestASyncThatFailsTakesBackAllItCovered(t *testing.T) {
	d := disktest.New()
	l := openOn(t, d)
	if err := l.Record([]sample.Outcome{of("/durable")}); err != nil {
		t.Fatal(err)
	}
	var written []Written
	for _, path := range []string{"/a", "/b"} {
		w, err := l.Write([]sample.Outcome{of(path)})
		if err != nil {
			t.Fatal(err)
		}
		written = append(written, w)
	}
	d.Before = func(op disktest.Op) error {
		if op.Kind == "sync" {
			return syscall.EIO
		}
		return nil
	}
	for _, w := range written {
		if err := l.Sync(w); !errors.Is(err, syscall.EIO) {
			t.Errorf("%v, want EIO", err)
		}
	}
	d.Before = nil
	if err := l.Record([]sample.Outcome{of("/later")}); err != nil {
		t.Fatal(err)
	}
	var told []string
	if err := l.ReadBack(t.Context(), Mark{}, func(_ string, _ sample.At, text []byte) {
		o, _ := sample.ParseOutcome(text)
		told = append(told, o.Path)
	}); err != nil || strings.Join(told, " ") != "/durable /later" {
		t.Errorf("%q are in the ledger (%v)", told, err)
	}
}

func openOn(t *testing.T, d *disktest.Disk) *Ledger {
	t.Helper()
	l, err := Open(d, "/ledger", Bounds{Keep: 10}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func of(path string) sample.Outcome {
	return sample.Outcome{Path: path, Scanner: "s", Outcome: sample.Gone, Time: time.Now(), At: sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: 1}}}
}

// TestAnotherProcessHearsAllAfterAPowerCut: it had heard of what was not synced, and the ledger
// grew past that place again. It tells no half line, and misses none.
func TestAnotherProcessHearsAllAfterAPowerCut(t *testing.T) {
	d := disktest.New()
	l := openOn(t, d)
	mark, told := "", map[string]bool{}
	tells := func(l *Ledger) {
		t.Helper()
		for {
			next, err := Foreign(l.Dir).Next(mark, 9, func(text []byte) {
				o, err := sample.ParseOutcome(text)
				if err != nil {
					t.Errorf("%q is told: %v", text, err)
				}
				told[o.Path] = true
			})
			if err != nil {
				t.Fatal(err)
			}
			if next == mark {
				return
			}
			mark = next
		}
	}
	if err := l.Record([]sample.Outcome{of("/a")}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write([]sample.Outcome{of("/not-synced")}); err != nil {
		t.Fatal(err)
	}
	tells(l)
	l = openOn(t, d.Cut(0))
	for _, path := range []string{"/b", "/c-with-a-longer-name", "/d"} {
		if err := l.Record([]sample.Outcome{of(path)}); err != nil {
			t.Fatal(err)
		}
	}
	tells(l)
	for _, path := range []string{"/a", "/b", "/c-with-a-longer-name", "/d"} {
		if !told[path] {
			t.Errorf("%s is never told: %v", path, told)
		}
	}
}
