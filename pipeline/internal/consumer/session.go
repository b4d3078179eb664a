// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// entry is one push in a session. It holds a place until it is recorded or given
// back.
type entry struct {
	ended
	way    way // how opening it ended
	answer scan.Answer
}

// session pushes first, and what else is ready, in one session of the scanner:
// open, hash, scan, outcome or another try. It ends as soon as no further push
// is ready. ctx ends the joining, hand the session itself.
func (w *workers) session(ctx, hand context.Context, first *push) {
	if first.trial.proof.by != nothing && !w.trials.count(hand, first) {
		<-w.places
		return
	}
	all := w.scan(ctx, hand, first)
	inside := 0
	for _, e := range all {
		if e.way == ready {
			inside++
		}
	}
	var done []ended
	for i := range all {
		e := &all[i]
		is := e.way == concluded
		switch e.way {
		case ready:
			is = w.take(hand, e, inside == 1)
		case unread:
			w.trials.notRead(e.push)
		case held:
			is = w.trials.held(e)
		case parked:
			if old := w.turns.park(e.push); old != nil {
				done = append(done, outdated(w.c.Name, old))
			}
		}
		if is {
			done = append(done, e.ended)
		}
	}
	if w.in.end(ctx, done) {
		w.restless.note(done)
	}
	w.flying.Add(-int64(len(all)))
	for range all {
		<-w.places
	}
}

// scan opens and hashes first and what joins it, and hands the scanner those that are
// ready. An entry that is ready has its answer then.
func (w *workers) scan(ctx, hand context.Context, first *push) (all []entry) {
	answers := w.scanner.Scan(hand, func(yield func(scan.File) bool) {
		begun := time.Now()
		for p := first; p != nil; p = w.join(ctx, first, begun, len(all)) {
			w.flying.Add(1)
			e := w.open(ctx, hand, p, len(all) > 0)
			all = append(all, e)
			if e.way == ready && !yield(scan.File{F: p.file.f, Size: p.file.stat.Size, SHA256: p.file.sum}) {
				return
			}
		}
	})
	n := 0
	for i := range all {
		e := &all[i]
		if e.way != ready {
			continue
		}
		if n < len(answers) {
			e.answer = answers[n]
		} else {
			e.answer.Err = &scan.Failure{Kind: scan.Unclear, Err: fmt.Errorf("no answer for file %d of a session", n+1)}
		}
		n++
	}
	return all
}

// open opens and hashes p for a session; joined says that others are in it already.
func (w *workers) open(ctx, hand context.Context, p *push, joined bool) entry {
	if p.trial.began.IsZero() {
		p.trial.began = time.Now()
	}
	e := entry{ended: ended{p, p.outcome(w.c.Name)}}
	p.file.restless = w.restless.is(p.sample)
	e.way = w.opener.open(hand, p, &e.out, w.enough(ctx, p, joined))
	if e.way == ready {
		w.trials.wasRead(p)
		if w.remembered(hand, p, &e.out) {
			e.way = concluded
		}
	}
	return e
}

// enough returns what interrupts p's hash: after its turn, when the stop was asked
// for, when others are in the same session, or when pushes wait and every worker is
// taken. If a line of the same path is already parked, p gets no turn of its own
// first: it replaces that line.
func (w *workers) enough(ctx context.Context, p *push, joined bool) func() bool {
	if p.file.part == nil && w.turns.parkedAt(p.sample.Path) {
		return func() bool { return true }
	}
	begun := time.Now()
	return func() bool {
		w.moves() // it reads on: it is not stuck
		wanted := func() bool { return len(w.places) == cap(w.places) && w.turns.ready() }
		return time.Since(begun) > turnFor && (joined || ctx.Err() != nil || wanted())
	}
}

// join returns the next push for a session, nil when the session should end.
func (w *workers) join(ctx context.Context, first *push, begun time.Time, n int) *push {
	if first.trial.alone || n >= w.share || time.Since(begun) > joinFor || ctx.Err() != nil || !w.health.open() {
		return nil
	}
	select {
	case w.places <- struct{}{}:
	default:
		return nil
	}
	if !w.limit.Allow() {
		<-w.places
		return nil
	}
	p := w.turns.fresh()
	if p == nil {
		<-w.places
	}
	return p
}

// remembered takes p's verdict from the cache; false means that the scanner has to
// be asked for it.
func (w *workers) remembered(ctx context.Context, p *push, out *sample.Outcome) bool {
	if w.c.Cache == 0 || p.vague() {
		return false
	}
	key := w.health.judgesBy(ctx)
	if key == "" {
		return false
	}
	a, ok := w.cache.Get(w.c.Name, key, p.file.sum, w.c.Cache)
	a = scan.Beyond(a, p.file.stat.Size, w.c.MaxSize) // the limit may be another one than it was
	// Of bytes that changed since they were hashed it tells nothing.
	if !ok || p.file.moved() || !p.judge(a, out) {
		return false
	}
	p.file.shut()
	out.Cached, out.Tries = out.Outcome == sample.Done, p.trial.tries
	return true
}

// take takes an answer: true means that the push has its outcome. False means that
// the push was given back, and may already be in another session's hands: it is not
// to be touched after.
func (w *workers) take(hand context.Context, e *entry, alone bool) bool {
	p, out, a := e.push, &e.out, e.answer
	judged := p.judge(a, out)
	p.file.shut()
	if !judged {
		if a.Err == nil || hand.Err() != nil {
			w.turns.later(p, time.Now().Add(w.trials.pace(p)))
		} else {
			w.trials.failed(p, a.Err, alone)
		}
		return false
	}
	asked := out.Outcome == sample.Done && a.Err == nil
	// By now the scanner may be another than was asked for its key: the answer's own
	// counts. Without a SHA-256 nobody knows which bytes it saw.
	if w.c.Cache > 0 && asked && a.Key != "" && out.SHA256 != "" {
		w.cache.Put(w.c.Name, a.Key, p.file.sum, a)
	}
	result := string(out.Verdict)
	switch {
	case asked:
		w.health.judgedNow(1)
		w.m.bytes.WithLabelValues(w.c.Name).Add(float64(p.file.stat.Size))
	case out.Outcome != sample.Done:
		result = out.Reason
	}
	w.m.tries.WithLabelValues(w.c.Name, result).Inc()
	out.Tries = p.trial.tries + 1
	return true
}

// judge turns an answer into p's outcome; false means that there is none yet. A
// bare path that changed has no line of its own to come: it is pushed again. Of
// what changed under the scanner's eyes nobody knows which bytes it saw: where a
// verdict stands all the same it has no SHA-256 and is not remembered.
func (p *push) judge(a scan.Answer, out *sample.Outcome) bool {
	if a.Err != nil && watch.Taken(a.Err) { // while the scanner was handed it
		p.judgedHere(out)
		return true
	}
	moved := p.file.moved()
	if moved && !p.borne() && !p.file.left(p.sample.Path) {
		if p.sample.Bare() {
			return false
		}
		out.Outcome, out.Reason, out.SHA256 = sample.Skipped, sample.ReasonChanged, ""
		return true
	}
	if moved || p.vague() {
		out.SHA256, p.file.sum = "", [32]byte{}
	}
	if a.Err != nil {
		return false
	}
	out.Outcome, out.Verdict, out.Signature, out.Reason = sample.Done, a.Verdict, a.Signature, a.Reason
	return true
}

// outdated is the outcome of a parked push whose path has a newer line.
func outdated(scanner string, p *push) ended {
	out := p.outcome(scanner)
	out.Outcome, out.Reason, out.Tries = sample.Skipped, sample.ReasonChanged, p.trial.tries
	return ended{p, out}
}
