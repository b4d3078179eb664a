// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"log/slog"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

// heldFor is how long a push may hold a cursor back before that is logged. It is longer
// than all tries of a sample together.
const heldFor = 15 * time.Minute

// held decides about a push whose file another program holds. That is not a failed try:
// the holder gets as long as a writer, settle_limit. Before that held puts the push off
// and returns false; after that it sets the outcome of e and returns true. It does so at
// once if too many wait already, because no line comes after maxWaiting of them.
func (t *trials) held(e *entry) bool {
	p, now := e.push, time.Now()
	if p.trial.busy.IsZero() {
		p.trial.busy = now
	}
	crowd := !t.crowd.admit(p) && t.settlesAgain(p) || t.turns.crowded()
	if crowd && t.crowd.gave() {
		t.log.Warn("other programs hold very many files so that they cannot be opened; these are given back to settle, and pushing goes on: see who has them", "tree", p.file.tree.Name, "path", p.sample.Path)
	}
	if now.Sub(p.trial.busy) < p.file.tree.SettleLimit && !crowd {
		t.turns.later(p, now.Add(t.pace(p)))
		return false
	}
	t.crowd.leave(p)
	t.giveBack(p, &e.out)
	return true
}

// settlesAgain reports whether the file of a line that is given back is journaled again
// when it has settled.
func (t *trials) settlesAgain(p *push) bool {
	return p.sample.Via != sample.ViaManual && t.source.Here()
}

// giveBack sets the outcome of a push whose file another program holds. Its line strays:
// the index forgets it before a cursor passes it. Its path goes back to settle, which
// waits for the holder, and then the file is journaled again. If the producer is another
// process, or the line is manual (then the index does not have it), that cannot happen,
// and the push is a dead letter.
func (t *trials) giveBack(p *push, out *sample.Outcome) {
	out.Outcome, out.Reason, out.Tries = sample.Skipped, sample.ReasonBusy, p.trial.tries
	if !t.settlesAgain(p) {
		out.Outcome = sample.Dead
		t.giveUp(p, out.Reason)
	}
}

// holders watches which push holds each lane's cursor back.
type holders struct {
	in  intake
	log *slog.Logger
	by  map[string]*holder // by lane; only the goroutine of Run has it
}

// holder is the push that holds a lane's cursor back.
type holder struct {
	push  *push
	since time.Time // when it became the holder
	said  bool      // it was logged
}

func newHolders(in intake, log *slog.Logger) *holders {
	h := &holders{in: in, log: log, by: map[string]*holder{}}
	for _, lane := range sample.Lanes {
		h.by[lane] = &holder{}
	}
	return h
}

// crowdOver logs that a crowd of held files is over.
func (t *trials) crowdOver(now time.Time) {
	if t.crowd.over(now) {
		held, given, _ := t.crowd.state()
		t.log.Info("held files are not given back any more", "held", held, "given_back", given)
	}
}

// Run looks at the holders until ctx ends, and calls tick each time. open reports whether
// the scanner may be pushed to.
func (h *holders) Run(ctx context.Context, open func() bool, tick func(time.Time)) error {
	t := time.NewTicker(cursorsEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			h.check(now, open())
			tick(now)
		}
	}
}

// check logs when one push has held a cursor back for heldFor, because that also holds
// back all segments from its line on. It logs when that is over. Time in which the
// scanner may not be pushed to does not count.
func (h *holders) check(now time.Time, open bool) {
	for _, lane := range sample.Lanes {
		was, oldest := h.by[lane], h.in.oldest(lane)
		if was.said && oldest != was.push {
			h.log.Info("the sample that held a cursor back has its outcome", "lane", lane)
		}
		if oldest != was.push || !open && !was.said { // that the scanner is down was logged already
			*was = holder{push: oldest, since: now}
		}
		if oldest != nil && !was.said && now.Sub(was.since) >= heldFor {
			was.said = true
			h.log.Warn("one sample holds a cursor back for long, and with it the journal from its line on: see who has the file, or mend what its reason names", "lane", lane, "path", oldest.sample.Path, "at", oldest.at.String(), "reason", oldest.trial.reason())
		}
	}
}
