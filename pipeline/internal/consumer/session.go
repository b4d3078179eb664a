// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/certpush/certpush/pipeline/internal/cache"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// askedSoon is how long a push waits for a canary that its verdict needs.
const askedSoon = 250 * time.Millisecond

// entry is one push in a session. It holds a worker until it is recorded or given back.
type entry struct {
	ended
	way    way         // how opening it ended
	answer scan.Answer // set if way is ready
}

// session pushes first, and other pushes that are ready, in one session of the scanner:
// it opens, hashes and scans them, and records their outcomes or puts them off. It takes
// in no further push once none is ready or ctx has ended. When hand ends, the session is
// interrupted.
func (w *workers) session(ctx, hand context.Context, first *push) {
	if first.trial.proof.by != nothing && !w.trials.count(hand, first) {
		w.quota.give()
		w.pace.give()
		return
	}
	all := w.scan(ctx, hand, first)
	w.health.restIfPaused()
	inside := 0
	for _, e := range all {
		if e.way == ready {
			inside++
		}
	}
	var done []ended
	for i := range all {
		e := &all[i]
		is := false
		switch e.way {
		case ready:
			w.paced(e)
			is = w.take(hand, e, inside == 1)
		case concluded:
			if is = e.by.begin(); !is { // it was called clean by what the address sees no more
				e.by = nil
				w.turns.later(e.push, time.Now().Add(askedSoon))
			}
		case unread:
			w.trials.notRead(e.push)
		case unasked:
			w.turns.later(e.push, time.Now().Add(askedSoon))
		case held:
			is = w.trials.held(e)
		case parked:
			if old := w.turns.park(e.push); old != nil {
				done = append(done, outdated(w.c.Name, old))
			}
		}
		if is {
			done = append(done, e.ended)
		} else {
			e.by.end()
		}
	}
	if w.in.end(ctx, done) {
		w.restless.note(done)
	}
	w.flying.Add(-int64(len(all)))
	for range all {
		w.pace.give()
	}
}

// scan opens and hashes first and the pushes that join it, and gives the ready ones to
// the scanner. It returns all of them; each ready one has its answer.
func (w *workers) scan(ctx, hand context.Context, first *push) (all []entry) {
	in := newRoots()
	defer in.end()
	answers := w.sights.scanner().Scan(hand, func(yield func(scan.File) bool) {
		begun, bytes := time.Now(), int64(0)
		for p := first; p != nil; {
			w.flying.Add(1)
			e := w.open(ctx, hand, in, p, len(all) > 0)
			if e.way == ready && w.quota.turn(hand) != nil {
				p.file.shut()
				e.way = unasked // it is tried again
			}
			all = append(all, e)
			bytes += p.file.stat.Size
			if e.way != ready { // the scanner does not get it
				w.quota.give()
			}
			if e.way == ready && !yield(p.file.toScan()) || bytes >= batchBytes {
				return
			}
			p = w.join(ctx, first, begun, len(all))
		}
	})
	answered(all, answers)
	return all
}

// answered gives each entry that is ready its answer. An entry for which there is none
// has a failure that was not understood.
func answered(all []entry, answers []scan.Answer) {
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
}

// open opens and hashes p for a session, or finds its verdict in the cache. joined says
// that other pushes are in the session already.
func (w *workers) open(ctx, hand context.Context, in *roots, p *push, joined bool) entry {
	if p.trial.began.IsZero() {
		p.trial.began = time.Now()
	}
	e := entry{ended: ended{push: p, out: p.outcome(w.c.Name), began: p.trial.began}}
	if !p.sample.Bare() && !w.sights.cover(p.sample.Size) { // before it is read
		e.way = unasked
		return e
	}
	p.file.restless = w.restless.is(p.sample)
	gives, asFound := w.in.givesWay(p)
	if p.file.asFound = p.file.asFound || asFound; gives && !p.file.asFound {
		w.trials.crowd.leave(p)
		e.out.Outcome, e.out.Reason, e.out.Tries, e.way = sample.Skipped, sample.ReasonChanged, p.trial.tries, concluded
		return e
	}
	e.way = w.opener.open(hand, in, p, &e.out, w.enough(ctx, p, joined))
	if e.way != held {
		w.trials.crowd.leave(p)
	}
	if e.way == ready {
		w.trials.wasRead(p)
		switch {
		case !w.sights.cover(p.file.stat.Size):
			p.file.shut()
			e.way = unasked
		case w.remembered(hand, &e):
			e.way = concluded
		}
	}
	return e
}

// enough returns a function that reports whether p's hash must give way. It must after
// turnFor, if the service stops, if other pushes are in the same session, or if pushes
// wait and all workers are taken. If a line of the same path is already parked, p gives
// way at once: it replaces that line and gets no turn of its own first.
func (w *workers) enough(ctx context.Context, p *push, joined bool) func() bool {
	if p.file.part == nil && w.turns.parkedAt(p.sample.Path) {
		return func() bool { return true }
	}
	begun := time.Now()
	return func() bool {
		w.moves() // it still reads: it is not stuck
		wanted := func() bool { return w.pace.full() && w.turns.ready() }
		return time.Since(begun) > turnFor && (joined || ctx.Err() != nil || wanted())
	}
}

// join returns the next push for a session that began at begun and has n pushes. It
// returns nil if the session takes in no more.
func (w *workers) join(ctx context.Context, first *push, begun time.Time, n int) *push {
	if first.trial.alone || n >= min(w.share(), batchMost) || time.Since(begun) > joinFor || ctx.Err() != nil || !w.health.open() {
		return nil
	}
	if !w.pace.tryTake() {
		if w.turns.ready() {
			w.pace.want()
		}
		return nil
	}
	if w.quota.take(time.Now()) > 0 {
		w.pace.give()
		return nil
	}
	p := w.turns.fresh()
	if p == nil {
		w.quota.give()
		w.pace.give()
	}
	return p
}

// paced lets the pace know of an answer. A time limit that passed says nothing of how much
// the scanner stands: one sample may have been slow.
func (w *workers) paced(e *entry) {
	switch err := e.answer.Err; {
	case err == nil:
		w.pace.answered(e.push.file.stat.Size)
	case err.Kind == scan.Busy || err.Kind == scan.Down && !errors.Is(err, os.ErrDeadlineExceeded):
		w.pace.busy()
	}
}

// share returns how many pushes share a session, at most.
func (w *workers) share() int { return max(1, w.pace.places()/cap(w.sessions)) }

// remembered takes the verdict of e's push from what is remembered, into its outcome. It
// returns false if the scanner must judge it.
func (w *workers) remembered(ctx context.Context, e *entry) bool {
	p, out := e.push, &e.out
	said := w.saidOf(p)
	if !w.c.Remembers() || p.vague() || w.c.Cache == 0 && len(said) == 0 {
		return false
	}
	key := w.health.judgesBy(ctx)
	if key == "" {
		return false
	}
	a, ok := scan.Answer{}, false
	if w.c.Cache > 0 && p.sample.For == "" { // a line for this scanner asks for a word of its own
		a, ok = w.cache.Get(w.c.Name, key, p.file.sum, w.c.Cache)
	}
	for _, j := range said {
		if !ok && j.Key == key {
			a, ok = j.Answer, true
		}
	}
	was := a
	a = scan.Beyond(a, p.file.stat.Size, w.c.MaxSize) // the limit may have changed since
	a.Version = key
	if ok {
		a, e.by, ok = w.sights.bound(a, p.file.toScan()) // and so may what the address sees
	}
	// If the file has changed since it was hashed, the verdict is not of its bytes.
	if !ok || p.file.moved() || !p.judge(a, out) {
		e.by.end()
		e.by = nil
		return false
	}
	defer e.by.end()                                  // the session may last: at its end the sight is asked for once more
	if p.file.copied.is && a.Verdict == was.Verdict { // else its bytes may be others by now
		w.cache.PutFile(w.c.Name, cache.Judged{Key: key, SHA256: p.file.sum, Answer: was}, p.names()...)
	}
	p.file.shut()
	out.Cached, out.Tries = out.Outcome == sample.Done, p.trial.tries
	return true
}

// saidOf returns what the scanner said last of p's file, by its name and by its inode, if
// its bytes were the same. So a file that was touched, renamed, or replaced by its like
// needs no other push. A line that somebody gave by hand is pushed whatever was said.
func (w *workers) saidOf(p *push) (all []cache.Judged) {
	if !w.c.Remembers() || p.sample.Via == sample.ViaManual || p.borne() {
		return nil
	}
	for _, name := range p.names() {
		if j, ok := w.cache.GetFile(w.c.Name, name); ok && j.SHA256 == p.file.sum {
			all = append(all, j)
		}
	}
	return all
}

// names returns what names p's file: its path and size; its inode, size and mtime.
func (p *push) names() []string {
	st := p.file.stat
	return []string{
		fmt.Sprintf("path %d %s", st.Size, p.sample.Path),
		fmt.Sprintf("inode %d %d %d %d.%09d", st.Dev, st.Inode, st.Size, st.Mtime.Sec, st.Mtime.Nsec),
	}
}

// take turns the answer of e into its outcome, and returns true. If there is no outcome
// yet it puts the push off, and returns false: then another session may have the push
// already, and the caller must not touch it.
func (w *workers) take(hand context.Context, e *entry, alone bool) bool {
	p, out, a := e.push, &e.out, e.answer
	if a.Err != nil && a.Err.Kind == scan.Void {
		w.sights.doubt(a.Address)
	}
	asked := a
	bounded, by, ok := w.sights.bound(a, p.file.toScan())
	if a, e.by = bounded, by; !ok {
		// The address judges nothing any more. This is not a try.
		p.file.shut()
		w.turns.later(p, time.Now().Add(askedSoon))
		return false
	}
	if !p.file.copied.is && (w.sights.keptFrom(a) || w.sights.of(a.Address).hands() && w.barred.keeps(p, a)) {
		p.file.shut()
		w.turns.later(p, time.Now().Add(w.trials.pace(p)))
		return false
	}
	judged := p.judge(a, out)
	sum, exact := p.file.scanned(a)
	p.file.shut()
	if !judged {
		if a.Err == nil || hand.Err() != nil {
			w.turns.later(p, time.Now().Add(w.trials.pace(p)))
		} else {
			w.trials.failed(p, a.Err, alone)
		}
		return false
	}
	// Use the key of the answer: the scanner may have changed since it was asked for its
	// key. Without a SHA-256 we do not know which bytes the scanner saw. What the address
	// said is remembered if its sight lets it say so; later its sight bounds it anew.
	if w.c.Remembers() && out.Outcome == sample.Done && a.Err == nil && a.Key != "" && exact && a.Verdict == asked.Verdict {
		if w.c.Cache > 0 {
			w.cache.Put(w.c.Name, a.Key, sum, asked)
		}
		w.cache.PutFile(w.c.Name, cache.Judged{Key: a.Key, SHA256: sum, Answer: asked}, p.names()...)
	}
	result := string(out.Verdict)
	switch {
	case out.Outcome == sample.Done && a.Err == nil:
		w.health.judgedNow(1)
		w.sights.flows(asked, p.file.stat.Size)
		w.m.bytes.WithLabelValues(w.c.Name).Add(float64(p.file.stat.Size))
	case out.Outcome != sample.Done:
		result = out.Reason
	}
	w.m.tries.WithLabelValues(w.c.Name, result).Inc()
	out.Tries = p.trial.tries + 1
	return true
}

// judge turns an answer into p's outcome. It returns false if there is none yet: the try
// failed, or the file of a bare path has changed, which is pushed again because no new
// line will come for it. If the file changed while the scanner had it, we do not know
// which bytes the scanner saw: a verdict that is kept then has no SHA-256 and is not
// remembered.
func (p *push) judge(a scan.Answer, out *sample.Outcome) bool {
	if a.Err != nil && watch.Taken(a.Err) { // it was taken while the scanner read it
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
		out.SHA256 = ""
	}
	if sum, exact := p.file.scanned(a); exact {
		out.SHA256 = hex.EncodeToString(sum[:])
	}
	if a.Err != nil {
		return false
	}
	out.Outcome, out.Verdict, out.Signature, out.Reason = sample.Done, a.Verdict, sample.Short(a.Signature), a.Reason
	out.Version, out.Address = a.Version, a.Address
	return true
}

// outdated returns the outcome of a parked push whose path has a newer line.
func outdated(scanner string, p *push) ended {
	out := p.outcome(scanner)
	out.Outcome, out.Reason, out.Tries = sample.Skipped, sample.ReasonChanged, p.trial.tries
	return ended{push: p, out: out, began: p.trial.began}
}
