// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/journal"
)

// pushed pushes the next n lines with scanner one, and returns their paths.
func (m *model) pushed(n int) (paths []string) {
	c := m.consumers[0]
	for range n {
		m.append(journal.Live)
		for m.read(c, journal.Live) {
		}
		if !m.record(c) {
			m.t.Fatal("no outcome was recorded")
		}
		paths = append(paths, fmt.Sprintf("/t/%d", m.next))
	}
	return paths
}

// kill kills the process and starts it again.
func (m *model) kill() {
	m.killed = true
	m.crash(m.d.Kill(), true)
}

// TestWhatAKillLeftUntoldIsTold: outcomes that were written and not synced, and those that
// were told since the cursors were saved last. After an orderly stop nothing is.
func TestWhatAKillLeftUntoldIsTold(t *testing.T) {
	inMemory(t)
	m := newModel(t, 2) // lazy
	first := m.pushed(2)
	m.kill()
	if !slices.Equal(m.retold, first) {
		t.Fatalf("%q were told again, want %q", m.retold, first)
	}
	m.pushed(3)
	m.sync(m.consumers[0])
	m.must(m.consumers[0].lines.saveCursors())
	m.must(m.led.Cut(m.now))
	late := m.pushed(2)
	m.sync(m.consumers[0])
	written := m.pushed(1)
	m.kill()
	if want := append(late, written...); !slices.Equal(m.retold, want) {
		t.Fatalf("%q were told again, want %q", m.retold, want)
	}
	m.push(m.consumers[0])
	m.must(m.consumers[0].lines.saveCursors()) // as an orderly stop does
	m.kill()
	if len(m.retold) > 0 {
		t.Errorf("%q were told again after an orderly stop", m.retold)
	}
}

// waiting is a source whose index has not forgotten a line that strayed.
type waiting struct{ Apart }

func (waiting) Strays() (told, forgotten uint64) { return 1, 0 }

// TestAnOrderlyStopSavesWhatIsToldWhileLinesStray: cursors wait for the index to forget
// them, and what is told does not.
func TestAnOrderlyStopSavesWhatIsToldWhileLinesStray(t *testing.T) {
	inMemory(t)
	m := newModel(t, 0)
	m.must(m.consumers[0].lines.saveCursors())
	m.consumers[0].lines.source = waiting{}
	m.pushed(2)
	m.must(m.consumers[0].lines.saveCursors())
	if m.kill(); len(m.retold) > 0 {
		t.Errorf("%q were told again", m.retold)
	}
}

// TestNothingIsToldAgainAfterAnUpgrade: the mark of an older version does not say up to
// where its outcomes were told. From then on it does.
func TestNothingIsToldAgainAfterAnUpgrade(t *testing.T) {
	inMemory(t)
	m := newModel(t, 0)
	c := m.consumers[0]
	m.pushed(2)
	m.must(c.lines.saveCursors())
	m.must(journal.SaveText(m.cursors, "one.mark", c.SavedMark().String()))
	if m.kill(); len(m.retold) > 0 {
		t.Fatalf("%q were told again", m.retold)
	}
	late := m.pushed(1)
	if m.kill(); !slices.Equal(m.retold, late) {
		t.Errorf("%q were told again, want %q", m.retold, late)
	}
}

// TestALedgerThatIsAnotherOneIsNotToldAgain: it was restored, or taken away.
func TestALedgerThatIsAnotherOneIsNotToldAgain(t *testing.T) {
	inMemory(t)
	m := newModel(t, 0)
	m.pushed(2)
	elsewhere := ledger.ParseMark("0123456789abcdef:0")
	m.must(ledger.SaveMarks(m.cursors, "one.mark", ledger.Mark{}, &elsewhere))
	if m.kill(); len(m.retold) > 0 {
		t.Errorf("%q were told again", m.retold)
	}
}

// TestTheOldestUntoldOutcomeHoldsThePlace, however many later ones are told.
func TestTheOldestUntoldOutcomeHoldsThePlace(t *testing.T) {
	inMemory(t)
	m := newModel(t, 0)
	tells := m.consumers[0].lines.telling
	at := func() string { return strings.TrimSpace(tells.upTo().String()) }
	before := at()
	old := tells.begin()
	m.pushed(2)
	if at() != before {
		t.Errorf("%s, want %s", at(), before)
	}
	next := tells.begin()
	tells.end(old)
	if end := strings.TrimSpace(m.led.End().String()); at() != end {
		t.Errorf("%s, want %s", at(), end)
	}
	m.pushed(1)
	tells.end(next)
	if end := strings.TrimSpace(m.led.End().String()); at() != end {
		t.Errorf("%s, want %s", at(), end)
	}
}

// TestAnEndWithoutANameHoldsNothingBack: while outcomes are on their way all the time, the
// ledger's end cannot be named once, for want of a descriptor. What was told before stays
// told.
func TestAnEndWithoutANameHoldsNothingBack(t *testing.T) {
	inMemory(t)
	m := newModel(t, 0)
	tells := m.consumers[0].lines.telling
	at := func() string { return strings.TrimSpace(tells.upTo().String()) }
	old := tells.begin()
	m.pushed(2)
	next := tells.begin()
	place := tells.place
	tells.place = func() (ledger.Mark, bool) { return ledger.Mark{}, false }
	late := tells.begin()
	tells.end(old)
	want := at()
	tells.end(next)
	if at() != want {
		t.Errorf("%s, want %s", at(), want)
	}
	tells.end(late)
	if at() != want {
		t.Errorf("all is told: %s, want %s", at(), want)
	}
	tells.place = place
	if tells.end(tells.begin()); at() != strings.TrimSpace(m.led.End().String()) {
		t.Errorf("%s, want the end", at())
	}
}
