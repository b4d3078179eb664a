// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/scan"
)

// session pushes first, and what else is ready, in one session of the scanner:
// open, hash, scan, outcome or another try. It ends as soon as no further sample
// is ready. ctx ends the joining, hand the session itself.
func (c *consumer) session(ctx, hand context.Context, first *push) {
	if first.failed && !c.count(hand, first) {
		<-c.places
		return
	}
	var all []*push           // each holds a place until it is recorded or given back
	var inside []int          // those of all that the scanner was handed
	var outs []sample.Outcome // one for each of all
	var before []way          // how opening them ended
	files := iter.Seq[scan.File](func(yield func(scan.File) bool) {
		begun := time.Now()
		for p := first; p != nil; p = c.join(ctx, first, begun, len(all)) {
			c.flying.Add(1)
			if p.began.IsZero() {
				p.began = time.Now()
			}
			out := c.outcomeOf(p)
			p.restless = c.restless(p.sample)
			w := c.opener.open(hand, p, &out, c.enough(ctx, p, len(all) > 0))
			if w == ready {
				c.wasRead(p)
			}
			if w == ready && c.remembered(hand, p, &out) {
				w = settled
			}
			all, outs, before = append(all, p), append(outs, out), append(before, w)
			if w != ready {
				continue
			}
			inside = append(inside, len(all)-1)
			if !yield(scan.File{F: p.file, Size: p.stat.Size, SHA256: p.sum}) {
				return
			}
		}
	})
	answers := c.scanner.Scan(hand, files)
	for len(answers) < len(inside) {
		answers = append(answers, scan.Answer{Err: &scan.Failure{Kind: scan.Unclear, Err: fmt.Errorf("no answer for file %d of %d", len(answers)+1, len(inside))}})
	}
	given := make(map[int]scan.Answer, len(inside))
	for i, k := range inside {
		given[k] = answers[i]
	}
	var finished []*push
	var record []sample.Outcome
	for i, p := range all {
		done := before[i] == settled
		if before[i] == ready {
			done = c.settle(hand, p, given[i], &outs[i], len(inside) == 1)
		} else if before[i] == later {
			done = c.unread(hand, p, &outs[i])
		} else if before[i] == unfinished {
			if old := c.park(p); old != nil {
				finished, record = append(finished, old), append(record, c.outdated(old))
			}
		}
		if done {
			finished, record = append(finished, p), append(record, outs[i])
		}
	}
	c.finish(ctx, hand, finished, record)
	c.flying.Add(-int64(len(all)))
	for range all {
		<-c.places
	}
}

// join returns the next sample for a session, nil when it should end.
func (c *consumer) join(ctx context.Context, first *push, begun time.Time, n int) *push {
	if first.alone || n >= c.share || time.Since(begun) > joinFor || ctx.Err() != nil || !c.health.open() {
		return nil
	}
	select {
	case c.places <- struct{}{}:
	default:
		return nil
	}
	if !c.limit.Allow() {
		<-c.places
		return nil
	}
	p := c.fresh()
	if p == nil {
		<-c.places
	}
	return p
}

// remembered takes p's verdict from the cache; false means that it has to be
// asked for.
func (c *consumer) remembered(ctx context.Context, p *push, out *sample.Outcome) bool {
	if c.cache == nil || p.vague() {
		return false
	}
	key := c.health.judgesBy(ctx)
	if key == "" {
		return false
	}
	a, ok := c.cache.Get(c.c.Name, key, p.sum, c.c.Cache)
	a = scan.Beyond(a, p.stat.Size, c.c.MaxSize) // the limit may be another one than it was
	// Of bytes that changed since they were hashed it tells nothing.
	if !ok || p.moved() || !p.judge(a, out) {
		return false
	}
	p.shut()
	out.Cached, out.Tries = out.Outcome == sample.Done, p.tries
	return true
}

func (c *consumer) outcomeOf(p *push) sample.Outcome {
	return sample.Outcome{ID: p.sample.ID, Scanner: c.c.Name, Path: p.sample.Path, Size: p.sample.Size, At: p.at}
}

// settle takes an answer: true means that p has its outcome. False means that p
// was given back, and may already be in another session's hands: it is not to be
// touched after.
func (c *consumer) settle(hand context.Context, p *push, a scan.Answer, out *sample.Outcome, alone bool) bool {
	judged := p.judge(a, out)
	p.shut()
	if judged {
		// By now the scanner may be another than was asked for its key: the answer's own
		// counts. Without a SHA-256 nobody knows which bytes it saw.
		if c.cache != nil && out.Outcome == sample.Done && a.Err == nil && a.Key != "" && out.SHA256 != "" {
			c.cache.Put(c.c.Name, a.Key, p.sum, a)
		}
		result := string(out.Verdict)
		switch {
		case out.Outcome == sample.Done && a.Err == nil:
			c.health.judgedNow(1)
			c.m.bytes.WithLabelValues(c.c.Name).Add(float64(p.stat.Size))
		case out.Outcome != sample.Done:
			result = out.Reason
		}
		c.m.tries.WithLabelValues(c.c.Name, result).Inc()
		out.Tries = p.tries + 1
		return true
	}
	if a.Err == nil || hand.Err() != nil {
		c.later(p, time.Now().Add(c.pace(p)))
		return false
	}
	c.failed(p, a.Err, alone)
	return false
}

// failed takes a try without a verdict. Only what the sample itself may have
// caused, tried alone, can count as one.
func (c *consumer) failed(p *push, f *scan.Failure, alone bool) {
	c.m.tries.WithLabelValues(c.c.Name, kindName(f.Kind)).Inc()
	now := time.Now()
	switch f.Kind {
	case scan.Busy:
		wait := max(f.After, 100*time.Millisecond)
		c.health.rest(wait)
		c.later(p, now.Add(wait))
	case scan.Down:
		c.health.fail(f, false)
		c.later(p, now)
	case scan.Sick:
		// A canary brings the scanner back. The same sample sick again right after it,
		// and alone, is the sample's own doing: that counts.
		p.failed, p.local, p.judged = alone && p.sick, false, c.health.judgedSoFar()
		p.alone, p.sick, p.reason = true, alone, describe(kindName(f.Kind), f)
		c.health.fail(f, true)
		c.later(p, now)
	case scan.Void:
		p.alone = true
		c.later(p, now)
	case scan.Unread:
		p.reason, p.local = describe(sample.ReasonUnreadable, f), !store.Exhausted(f)
		c.notRead(p, f)
	default:
		if !alone {
			p.alone = true
			c.later(p, now)
			return
		}
		p.alone, p.failed, p.local = true, true, false
		p.judged = c.health.judgedSoFar()
		p.reason = describe(kindName(f.Kind), f)
		wait := c.pace(p)
		c.log.Warn("try failed; the sample is tried again", "path", p.sample.Path, "at", p.at.String(), "tries", p.tries, "of", c.c.Tries, "wait", wait.Round(time.Millisecond).String(), "error", f, "raw", fmt.Sprintf("%q", f.Raw))
		c.later(p, now.Add(wait))
	}
}

// count makes a failed try count once it is known not to be the scanner's fault, nor
// the tree's.
// False means that p is not to be pushed now: it is given up, or waits.
func (c *consumer) count(ctx context.Context, p *push) bool {
	if p.local && !c.treeReads(p) {
		p.failed = false // it is tried once more, for nothing else may be there to be read
		return true
	}
	if !p.local && !c.health.proven(ctx, p.judged) {
		c.later(p, time.Now().Add(c.pace(p)))
		return false
	}
	p.failed = false
	p.tries++
	if err := c.led.Tried(sample.Try{Time: time.Now(), ID: p.sample.ID, Scanner: c.c.Name, Path: p.sample.Path, Try: p.tries, Reason: p.reason, At: p.at}); err != nil {
		c.log.Debug("a failed try is not on record", "path", p.sample.Path, "error", err)
	}
	if p.tries < c.c.Tries {
		return true
	}
	out := c.outcomeOf(p)
	out.Outcome, out.Reason, out.Tries = sample.Dead, p.reason, p.tries
	if p.sum != [32]byte{} && !p.vague() { // it could be read
		out.Size, out.SHA256 = p.stat.Size, hex.EncodeToString(p.sum[:])
	}
	c.log.Error("dead letter: the sample is given up; see `certpush why`, then `certpush dead retry`", "path", p.sample.Path, "at", p.at.String(), "tries", p.tries, "reason", p.reason)
	c.finish(ctx, ctx, []*push{p}, []sample.Outcome{out})
	return false
}

func kindName(k scan.Kind) string {
	switch k {
	case scan.Busy:
		return "busy"
	case scan.Down:
		return "down"
	case scan.Sick:
		return "sick"
	case scan.Refused:
		return "refused"
	case scan.Void:
		return "void"
	case scan.Unread:
		return sample.ReasonUnreadable
	default:
		return "unclear"
	}
}

// finish records outcomes, and only then lets the cursor pass their lines. While
// the ledger cannot be written it holds the workers, and so pushing stops.
func (c *consumer) finish(ctx, hand context.Context, all []*push, outs []sample.Outcome) {
	if len(all) == 0 {
		return
	}
	now := time.Now()
	for i, p := range all {
		outs[i].Time = now
		if !p.began.IsZero() {
			outs[i].Took = now.Sub(p.began)
		}
	}
	if !c.record(ctx, hand, outs) {
		return // not recorded: the lines stay unfinished and are pushed again
	}
	// A crash here: the cursor lags, and at start the ledger's tail tells that these
	// lines are finished.
	c.mu.Lock()
	for i, p := range all {
		p.lane.open.Remove(c.opened[p])
		delete(c.opened, p)
		p.lane.waiting--
		c.counts[outs[i].Outcome]++
		c.unrest(outs[i])
	}
	c.mu.Unlock()
	for i, p := range all {
		c.tell(p, outs[i], now)
	}
}

// record writes to the ledger until it succeeds; false means that it did not
// before the stop's time was over.
func (c *consumer) record(ctx, hand context.Context, outs []sample.Outcome) bool {
	failing := false
	for {
		err := c.led.Record(outs)
		if err == nil {
			if failing {
				c.heed(writesLedger, nil)
				c.log.Info("the ledger can be written again")
			}
			return true
		}
		if !failing {
			failing = true
			c.log.Error("the ledger cannot be written; pushing waits and the verdicts in hand are kept in memory: make room or mend the disk", "verdicts", len(outs), "error", err)
		}
		c.heed(writesLedger, err)
		c.moved.Store(time.Now().UnixNano()) // the disk does not let it, it is not stuck
		t := time.NewTimer(500 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		case <-hand.Done():
			t.Stop()
			return false
		}
	}
}

// tell counts an outcome, warns of a malicious one, and hands a changed path
// back to settle.
func (c *consumer) tell(p *push, out sample.Outcome, now time.Time) {
	name := c.c.Name
	c.m.pushes.WithLabelValues(name, out.Outcome).Inc()
	c.m.took.WithLabelValues(name).Observe(out.Took.Seconds())
	if !p.sample.Bare() {
		c.m.latency.WithLabelValues(name).Observe(now.Sub(p.sample.Seen).Seconds())
	}
	if out.Verdict != "" {
		c.m.verdicts.WithLabelValues(name, string(out.Verdict)).Inc()
	}
	if out.Verdict == scan.Malicious {
		c.log.Warn("malicious", "path", out.Path, "signature", out.Signature, "sha256", out.SHA256, "at", out.At.String())
	}
	if out.Reason == sample.ReasonChanged && c.again != nil {
		c.again(out.Path)
	}
	if sample.Strayed(out) && c.stray != nil {
		c.stray(out.Path, out.At)
	}
	if c.told != nil {
		c.told(out)
	}
}
