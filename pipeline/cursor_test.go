// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/config"
)

// halfRead returns a lab whose cursor is in the middle of a journal of several segments:
// the lines of open have no outcome yet.
func halfRead(t *testing.T) (l *lab, open []string) {
	t.Helper()
	var done []string
	l = newLab(t, func(c *Config) { c.Journal.CutSize = 900 })
	l.start()
	l.swept()
	for i := range 12 {
		done = append(done, l.write(fmt.Sprint("a", i), "x"))
		l.judged(done[i])
	}
	l.halt()
	l.c.Half = config.ProducerOnly
	l.start()
	l.swept()
	for i := range 12 {
		open = append(open, l.write(fmt.Sprint("b", i), "x"))
		l.until("its line", func() bool { return len(l.lines("live")) == len(done)+1+i })
	}
	l.halt()
	l.c.Half = config.Both
	return l, open
}

// started runs a copy of l's state, with another cursor, until each of paths has its
// outcome. It returns how many outcomes there were.
func (l *lab) started(cursor string, paths []string) int {
	l.t.Helper()
	r := newLab(l.t)
	must(l.t, os.CopyFS(r.c.State, os.DirFS(l.c.State)))
	r.c.Half, r.c.Trees, r.c.Journal.CutSize = config.ConsumerOnly, l.c.Trees, 900
	must(l.t, os.WriteFile(filepath.Join(r.c.State, "cursors", "hashlist.live"), []byte(cursor), 0o600))
	r.start()
	r.judged(paths...)
	r.halt()
	return len(r.outcomes())
}

func (l *lab) cursor() string {
	l.t.Helper()
	text, err := read(filepath.Join(l.c.State, "cursors", "hashlist.live"))
	must(l.t, err)
	return string(text)
}

// TestEachBitOfACursorIsFlipped: whatever bit of a cursor changes, no line is passed
// over. The ledger tells which lines are finished, so none is pushed twice either.
func TestEachBitOfACursorIsFlipped(t *testing.T) {
	l, open := halfRead(t)
	text := l.cursor()
	step := 1
	if testing.Short() {
		step = 7
	}
	for bit := 0; bit < 8*len(text); bit += step {
		flipped := []byte(text)
		flipped[bit/8] ^= 1 << (bit % 8)
		t.Run(fmt.Sprint(bit), func(t *testing.T) {
			t.Parallel()
			if n := l.in(t).started(string(flipped), open); n != len(open) {
				t.Errorf("%q: %d outcomes of %d lines", flipped, n, len(open))
			}
		})
	}
}

// in returns a lab with l's folders for a test in a test.
func (l *lab) in(t *testing.T) *lab { return &lab{t: t, c: l.c, drop: l.drop} }

// TestACursorThatIsNone: one that is empty, cut short, or that of the other lane.
func TestACursorThatIsNone(t *testing.T) {
	l, open := halfRead(t)
	text := l.cursor()
	other, err := os.ReadFile(filepath.Join(l.c.State, "cursors", "hashlist.backlog"))
	must(t, err)
	for _, bad := range []string{"", "\n", text[:3], text[:len(text)-1], string(other), strings.Repeat("\x00", len(text))} {
		if n := l.started(bad, open); n != len(open) {
			t.Errorf("%q: %d outcomes of %d lines", bad, n, len(open))
		}
	}
}

// TestACursorOfTheOldForm is read, and written anew even if it does not move.
func TestACursorOfTheOldForm(t *testing.T) {
	l, open := halfRead(t)
	text := l.cursor()
	place, _, _ := strings.Cut(text, " ")
	if n := l.started(place+"\n", open); n != len(open) {
		t.Errorf("%d outcomes of %d lines", n, len(open))
	}
	l.start()
	l.judged(open...)
	l.halt()
	text = l.cursor()
	place, _, _ = strings.Cut(text, " ")
	must(t, os.WriteFile(filepath.Join(l.c.State, "cursors", "hashlist.live"), []byte(place+"\n"), 0o600))
	l.start()
	l.until("the new form", func() bool { return l.cursor() == text })
}

// TestAJournalThatWasRestoredUnderItsCursor has other lines before the place.
func TestAJournalThatWasRestoredUnderItsCursor(t *testing.T) {
	l, open := halfRead(t)
	other, _ := halfRead(t)
	if n := l.started(other.cursor(), open); n != len(open) {
		t.Errorf("%d outcomes of %d lines", n, len(open))
	}
}
