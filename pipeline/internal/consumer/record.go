// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// recordAgain is how long after a failure the ledger is tried again.
const recordAgain = 500 * time.Millisecond

// recording takes outcomes, makes them durable, and then hands them on.
type recording struct {
	*books
	finished  func([]ended)       // called with outcomes that are durable
	unwritten condition.Condition // the ledger cannot be written
	unsynced  *unsynced
	telling   *telling
}

func newRecording(b *books, sync time.Duration, told *ledger.Mark, finished func([]ended)) *recording {
	return &recording{books: b, finished: finished, unsynced: newUnsynced(sync), telling: newTelling(b.led, told)}
}

// end implements intake.
func (l *lines) end(ctx context.Context, all []ended) bool { return l.take(ctx, all) }

// take writes outcomes, and hands them on when they are durable. It tries until they are
// written, and returns true, or false if ctx ended first. While the ledger cannot be
// written or synced it does not return, so its workers are held and pushing stops.
func (r *recording) take(ctx context.Context, all []ended) bool {
	if len(all) == 0 {
		return true
	}
	now := time.Now()
	outs := make([]sample.Outcome, len(all))
	for i, e := range all {
		out := &all[i].out
		out.Time = now
		if !e.began.IsZero() {
			out.Took = now.Sub(e.began)
		}
		outs[i] = *out
	}
	if r.unsynced.every == 0 {
		untold := r.telling.begin()
		defer r.telling.end(untold)
		is := r.write(ctx, outs, r.led.Record)
		if is {
			r.refuses(nil, 0)
			r.finished(all)
		}
		over(all)
		return is
	}
	r.unsynced.reserve(ctx, len(all))
	untold := r.telling.begin()
	var w ledger.Written
	if !r.write(ctx, outs, func(outs []sample.Outcome) (err error) {
		w, err = r.led.Write(outs)
		return err
	}) {
		r.unsynced.free(len(all))
		r.telling.end(untold)
		over(all)
		return false // the lines are not finished, and are pushed again after the next start
	}
	r.unsynced.put(written{all, outs, w, untold})
	return true
}

// syncs makes outcomes durable that were written, and finishes their lines, until over is
// closed; then it does so for the last time. When ctx has ended it does not wait for a
// disk that fails.
func (r *recording) syncs(ctx context.Context, over <-chan struct{}) {
	for ended := false; !ended; {
		select {
		case <-r.unsynced.some:
			t := time.NewTimer(r.unsynced.every)
			select {
			case <-t.C:
			case <-r.unsynced.much:
			case <-over:
			}
			t.Stop()
		case <-over:
			ended = true
		}
		r.sync(ctx, r.unsynced.take())
	}
}

// sync makes writes durable and finishes their lines. If a sync failed, the outcomes that it
// covered are not in the ledger any more: they are recorded anew, and pushing waits for that.
func (r *recording) sync(ctx context.Context, all []written) {
	var outs []sample.Outcome
	var back []written // taken back
	for _, w := range all {
		err := r.led.Sync(w.w)
		if err == nil {
			r.refuses(nil, 0)
			r.done(w, true)
			continue
		}
		if len(back) == 0 {
			r.unsynced.fails(true)
			r.refuses(err, len(w.outs))
		}
		back, outs = append(back, w), append(outs, w.outs...)
	}
	if len(back) == 0 {
		return
	}
	is := r.write(ctx, outs, r.led.Record)
	if is {
		r.refuses(nil, 0)
	}
	for _, w := range back {
		r.done(w, is)
	}
	r.unsynced.fails(false)
}

// done hands on a write that is durable, or is given up, and frees its room.
func (r *recording) done(w written, is bool) {
	if is {
		r.finished(w.all)
	}
	r.telling.end(w.untold)
	over(w.all)
	r.unsynced.free(len(w.all))
}

// write hands outcomes to the ledger by to. It tries until it succeeds. It returns false
// if ctx ended first.
func (r *recording) write(ctx context.Context, outs []sample.Outcome, to func([]sample.Outcome) error) bool {
	for {
		err := to(outs)
		if err == nil {
			return true
		}
		r.refuses(err, len(outs))
		if !wait(ctx, recordAgain) {
			return false
		}
	}
}

// refuses logs when the ledger begins to refuse outcomes, and when it takes them again:
// without an error, some are durable.
func (r *recording) refuses(err error, n int) {
	switch r.unwritten.Note(err) {
	case condition.Began:
		r.log.Error("the ledger cannot be written; pushing waits and the verdicts in hand are kept in memory: make room or mend the disk", "verdicts", n, "error", err)
	case condition.Ended:
		r.log.Info("the ledger can be written again")
	}
}

// finished lets the cursor pass the lines of pushes whose outcomes are durable.
//
// A crash here: the cursors lag. At start the ledger's tail tells that these lines are
// finished, and which of them strayed.
func (l *lines) finished(all []ended) {
	for _, e := range all {
		if sample.Strayed(e.out) {
			l.source.Stray(e.out.Path, e.out.At) // must come before a cursor can pass the line: see saveCursors
		}
	}
	l.mu.Lock()
	for _, e := range all {
		l.lane(e.push.at.Lane).finished(e.push)
		l.paths.finished(e.push)
		l.counts[e.out.Outcome]++
	}
	l.mu.Unlock()
	for _, e := range all {
		l.m.took.WithLabelValues(l.scanner).Observe(e.out.Took.Seconds())
		if s := e.push.sample; !s.Bare() {
			l.m.latency.WithLabelValues(l.scanner).Observe(e.out.Time.Sub(s.Seen).Seconds())
		}
		if e.out.Reason == sample.ReasonChanged {
			l.source.Again(e.out.Path)
		}
		l.tell(e.out)
	}
}

// tell counts an outcome, logs a malicious one, and calls outcome.
func (l *lines) tell(out sample.Outcome) {
	l.m.pushes.WithLabelValues(l.scanner, out.Outcome).Inc()
	if out.Verdict != "" {
		l.m.verdicts.WithLabelValues(l.scanner, string(out.Verdict)).Inc()
	}
	if out.Verdict == scan.Malicious {
		l.log.Warn("malicious", "path", out.Path, "signature", out.Signature, "sha256", out.SHA256, "at", out.At.String())
	}
	if out.Reason == sample.ReasonOutside {
		l.sayOutside(out)
	}
	l.outcome(out)
}
