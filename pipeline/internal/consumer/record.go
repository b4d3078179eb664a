// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// recordAgain is how long after a failure the ledger is tried again.
const recordAgain = 500 * time.Millisecond

// end implements intake: it records outcomes, and only then lets the cursor pass their
// lines. While the ledger cannot be written it does not return, so its workers are held
// and pushing stops.
func (l *lines) end(ctx context.Context, all []ended) bool {
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
	if !l.record(ctx, outs) {
		return false // the lines are not finished, and are pushed again after the next start
	}
	// A crash here: the cursors lag. At start the ledger's tail tells that these lines are
	// finished, and which of them strayed.
	for _, e := range all {
		if sample.Strayed(e.out) {
			l.source.Stray(e.out.Path, e.out.At) // must come before a cursor can pass the line: see saveCursors
		}
	}
	l.mu.Lock()
	for _, e := range all {
		l.lane(e.push.at.Lane).open.Remove(e.push.place)
		l.paths.finished(e.push)
		l.counts[e.out.Outcome]++
	}
	l.mu.Unlock()
	for _, e := range all {
		l.tell(e.push, e.out)
	}
	return true
}

// record writes outcomes to the ledger. It tries until it succeeds. It returns false if
// ctx ended first.
func (l *lines) record(ctx context.Context, outs []sample.Outcome) bool {
	for {
		err := l.led.Record(outs)
		switch l.unwritten.Note(err) {
		case condition.Began:
			l.log.Error("the ledger cannot be written; pushing waits and the verdicts in hand are kept in memory: make room or mend the disk", "verdicts", len(outs), "error", err)
		case condition.Ended:
			l.log.Info("the ledger can be written again")
		}
		if err == nil {
			return true
		}
		if !wait(ctx, recordAgain) {
			return false
		}
	}
}

// tell counts an outcome, logs a malicious one, sends a changed file back to settle, and
// calls outcome.
func (l *lines) tell(p *push, out sample.Outcome) {
	l.m.pushes.WithLabelValues(l.scanner, out.Outcome).Inc()
	l.m.took.WithLabelValues(l.scanner).Observe(out.Took.Seconds())
	if !p.sample.Bare() {
		l.m.latency.WithLabelValues(l.scanner).Observe(out.Time.Sub(p.sample.Seen).Seconds())
	}
	if out.Verdict != "" {
		l.m.verdicts.WithLabelValues(l.scanner, string(out.Verdict)).Inc()
	}
	if out.Verdict == scan.Malicious {
		l.log.Warn("malicious", "path", out.Path, "signature", out.Signature, "sha256", out.SHA256, "at", out.At.String())
	}
	if out.Reason == sample.ReasonOutside {
		l.sayOutside(out)
	}
	if out.Reason == sample.ReasonChanged {
		l.source.Again(out.Path)
	}
	l.outcome(out)
}
