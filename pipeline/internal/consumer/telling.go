// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
)

// telling knows up to where in the ledger all outcomes of a scanner were told. That place
// is saved with the cursors: what a start finds behind it, it tells once more, for the end
// of the process may have come between the write of an outcome and its word.
type telling struct {
	place func() (ledger.Mark, bool) // the ledger's end, and whether it can be named now

	mu   sync.Mutex    // guards the fields below
	last *ledger.Mark  // the newest place that was named; nil: none was
	told *ledger.Mark  // all before it is told, if open is empty; nil: not known
	open *list.List    // of *ledger.Mark: places before outcomes that are not told yet, oldest first
	left *list.Element // of open: what the last run may have left; nil: nothing, or it is told by now
}

// newTelling returns a telling whose last run told all up to a place; nil: it did not note
// it, as an older version did not. Then all that is in the ledger now counts as told.
func newTelling(led *ledger.Ledger, told *ledger.Mark) *telling {
	t := &telling{place: led.Place, last: told, told: told, open: list.New()}
	if told == nil {
		t.told = t.now()
	} else {
		t.left = t.open.PushBack(told)
	}
	return t
}

// now returns the ledger's end, or if that cannot be named the newest place before it that
// could; nil if none is known. The caller holds mu.
func (t *telling) now() *ledger.Mark {
	if m, named := t.place(); named {
		t.last = &m
	}
	return t.last
}

// begin notes that outcomes are about to be recorded. The caller hands what it returns to
// end.
func (t *telling) begin() *list.Element {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open.PushBack(t.now())
}

// end notes that outcomes are told, or that they are not in the ledger.
func (t *telling) end(of *list.Element) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open.Remove(of); t.open.Len() == 0 {
		t.told = t.now()
	}
}

// upTo returns the place before which all is told, or nil if none is known.
func (t *telling) upTo() *ledger.Mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	if oldest := t.open.Front(); oldest != nil {
		return oldest.Value.(*ledger.Mark)
	}
	return t.told
}

// tellAgain tells what lies in the ledger behind the place up to which all was told when
// the process ended. After an orderly stop nothing does. It comes before the first line is
// handed out.
//
// A crash here: the next start tells it once more.
func tellAgain(ctx context.Context, l *lines) error {
	if l.telling.left == nil {
		l.trySaving() // a crash after the first outcome must find where to begin
		return nil
	}
	if err := l.led.ReadOn(ctx, *l.telling.upTo(), func(scanner string, _ sample.At, text []byte) {
		if scanner != l.scanner {
			return
		}
		if out, err := sample.ParseOutcome(text); err == nil {
			l.tell(out)
		}
	}); err != nil {
		return fmt.Errorf("tell outcomes again: %w", err)
	}
	l.telling.end(l.telling.left)
	l.telling.left = nil
	return nil
}
