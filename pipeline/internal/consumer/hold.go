// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"log/slog"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

const (
	forgetFor = 5 * time.Second  // the index may take that long to forget
	heldFor   = 15 * time.Minute // all tries of a sample that fail take less
)

// held takes a push whose file another program holds: true means that it ends so. If
// another program holds the file, that is not a failed try: the holder gets as long as
// a writer, settle_limit.
func (t *trials) held(ctx context.Context, e *entry) bool {
	p, now := e.push, time.Now()
	if p.trial.busy.IsZero() {
		p.trial.busy = now
	}
	if now.Sub(p.trial.busy) < p.file.tree.SettleLimit {
		t.turns.later(p, now.Add(t.pace(p)))
		return false
	}
	return t.giveBack(ctx, p, &e.out)
}

// giveBack ends a push whose file another program holds: its path goes back to settle,
// which waits for the holder, and it is journaled again. Where the producer is
// another process nobody could wait for it, and it is a dead letter.
func (t *trials) giveBack(ctx context.Context, p *push, out *sample.Outcome) bool {
	out.Outcome, out.Reason, out.Tries = sample.Skipped, sample.ReasonBusy, p.trial.tries
	ok := p.sample.Via != sample.ViaManual // the index does not know the file by a manual line
	if ok {
		var err error
		ctx, cancel := context.WithTimeout(ctx, forgetFor)
		defer cancel()
		// A crash after this: the line is pushed again, and the sweep at start journals
		// the file.
		if ok, err = t.source.Forget(ctx, p.sample.Path, p.at); err != nil {
			t.log.Debug("a sample that is held waits on, for the index cannot forget it", "path", p.sample.Path, "error", err)
			t.turns.later(p, time.Now().Add(t.pace(p)))
			return false
		}
	}
	if !ok {
		out.Outcome = sample.Dead
		t.giveUp(p, out.Reason)
	}
	return true
}

// holders watches which push holds each lane's cursor back.
type holders struct {
	in  intake
	log *slog.Logger
	by  map[string]*holder // lane
}

// holder is the push that holds a lane's cursor back.
type holder struct {
	push  *push
	since time.Time // when it became that
	said  bool
}

func newHolders(in intake, log *slog.Logger) *holders {
	h := &holders{in: in, log: log, by: map[string]*holder{}}
	for _, lane := range sample.Lanes {
		h.by[lane] = &holder{}
	}
	return h
}

// Run looks at the holders until ctx ends. open reports whether the scanner may be
// pushed to.
func (h *holders) Run(ctx context.Context, open func() bool) error {
	t := time.NewTicker(cursorsEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			h.look(now, open())
		}
	}
}

// look says when one push holds a cursor back for long, and with it the segments from
// its line on, and when it no longer does.
func (h *holders) look(now time.Time, open bool) {
	for _, lane := range sample.Lanes {
		was, oldest := h.by[lane], h.in.oldest(lane)
		if was.said && oldest != was.push {
			h.log.Info("the sample that held a cursor back has its outcome", "lane", lane)
		}
		if oldest != was.push || !open && !was.said { // a scanner that is down is said already
			*was = holder{push: oldest, since: now}
		}
		if oldest != nil && !was.said && now.Sub(was.since) >= heldFor {
			was.said = true
			h.log.Warn("one sample holds a cursor back for long, and with it the journal from its line on: see who has the file, or mend what its reason names", "lane", lane, "path", oldest.sample.Path, "at", oldest.at.String(), "reason", oldest.trial.reason())
		}
	}
}
