// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// shortFor is how long a push waits at most before it is opened again after the process
// was short of descriptors or memory.
const shortFor = 5 * time.Second

// trials decides about tries that brought no verdict: whether a try counts, when the next
// one begins, and when the push is given up.
type trials struct {
	c      config.Scanner
	log    *slog.Logger
	m      *Metrics
	in     intake
	source Source
	health *health
	turns  *turns

	crowd *crowding
	short condition.Condition // no sample can be opened, for want of descriptors or memory

	mu    sync.Mutex        // guards reads
	reads map[string]uint64 // by path of a tree: how many of its samples were read to their end
}

// failed puts off a push to which the scanner gave no verdict. The try can count only if
// the sample was alone in the session and may have caused the failure.
func (t *trials) failed(p *push, f *scan.Failure, alone bool) {
	if f.Kind == scan.Unread {
		p.unread(f)
		t.notRead(p)
		return
	}
	t.m.tries.WithLabelValues(t.c.Name, f.Kind.String()).Inc()
	now := time.Now()
	switch f.Kind {
	case scan.Busy:
		wait := max(f.After, 100*time.Millisecond)
		t.health.rest(wait)
		t.turns.later(p, now.Add(wait))
	case scan.Down:
		t.health.fail(f, false)
		t.turns.later(p, now)
	case scan.Sick:
		// A good canary brings the scanner back. If the same sample, alone, makes it sick
		// again right after that, the sample caused it: that try counts.
		p.trial.proof = proof{}
		if alone && p.trial.sick {
			p.trial.proof = proof{theScanner, t.health.judgedSoFar()}
		}
		p.trial.alone, p.trial.sick = true, alone
		p.trial.setReason(describe(f.Kind.String(), f))
		t.health.fail(f, true)
		t.turns.later(p, now)
	case scan.Void:
		wait := time.Duration(0)
		if p.trial.alone { // no other sample caused it: without a wait it would repeat at once, without end
			wait = t.pace(p)
		}
		p.trial.alone = true
		t.turns.later(p, now.Add(wait))
	default:
		if !alone {
			p.trial.alone = true
			t.turns.later(p, now)
			return
		}
		p.trial.alone, p.trial.proof = true, proof{theScanner, t.health.judgedSoFar()}
		p.trial.setReason(describe(f.Kind.String(), f))
		wait := t.pace(p)
		t.log.Warn("try failed; the sample is tried again", "path", p.sample.Path, "at", p.at.String(), "tries", p.trial.tries, "of", t.c.Tries, "wait", wait.Round(time.Millisecond).String(), "error", f, "raw", fmt.Sprintf("%q", f.Raw))
		t.turns.later(p, now.Add(wait))
	}
}

// count decides whether p's failed try counts, by its proof. It returns true if p is to
// be pushed again now. It returns false if that was the last try and p is given up, or
// if p waits because the scanner is down or paused.
func (t *trials) count(ctx context.Context, p *push) bool {
	switch p.trial.proof.by {
	case theTree:
		if !t.treeReads(p) {
			p.trial.proof = proof{} // try p once more: perhaps the tree has no other sample to read
			return true
		}
	case theScanner:
		if !t.health.proven(ctx, p.trial.proof.since) {
			if !t.health.open() {
				t.turns.later(p, time.Now().Add(t.pace(p)))
				return false
			}
			p.trial.proof = proof{} // try p once more: perhaps no other proof ever comes
			return true
		}
	}
	p.trial.proof = proof{}
	p.trial.tries++
	t.in.tried(sample.Try{Time: time.Now(), ID: p.sample.ID, Scanner: t.c.Name, Path: p.sample.Path, Try: p.trial.tries, Reason: p.trial.reason(), At: p.at})
	if p.trial.tries < t.c.Tries {
		return true
	}
	out := p.outcome(t.c.Name)
	out.Outcome, out.Reason, out.Tries = sample.Dead, p.trial.reason(), p.trial.tries
	if p.file.sum != [32]byte{} && !p.vague() { // the file could be read
		out.Size, out.SHA256 = p.file.stat.Size, hex.EncodeToString(p.file.sum[:])
	}
	t.giveUp(p, out.Reason)
	t.in.end(ctx, []ended{{push: p, out: out, began: p.trial.began}})
	return false
}

// giveUp logs that p is a dead letter.
func (t *trials) giveUp(p *push, reason string) {
	t.log.Error("dead letter: the sample is given up; see `certpush why`, then `certpush dead retry`", "path", p.sample.Path, "at", p.at.String(), "tries", p.trial.tries, "reason", reason)
}

// pace returns how long p waits before its next try: longer each time.
func (t *trials) pace(p *push) time.Duration {
	if p.trial.pace == nil {
		pace := backoff.NewExponentialBackOff()
		pace.InitialInterval, pace.MaxInterval = t.c.BackoffFirst, t.c.BackoffMax
		pace.Multiplier = 2
		pace.Reset()
		p.trial.pace = pace
	}
	return p.trial.pace.NextBackOff()
}

// notRead puts off a push whose file could not be opened or read. That is a failed try,
// unless the process or the machine is short of descriptors or memory.
func (t *trials) notRead(p *push) {
	t.m.tries.WithLabelValues(t.c.Name, sample.ReasonUnreadable).Inc()
	wait := t.pace(p)
	t.mu.Lock()
	p.trial.proof.since = t.reads[p.file.tree.Path]
	t.mu.Unlock()
	if p.trial.proof.by == nothing {
		wait = min(wait, shortFor)
		if t.short.Note(p.trial.short) == condition.Began {
			t.log.Error("samples cannot be opened for want of descriptors or memory; they wait, and no try is used up: raise LimitNOFILE, or give the machine memory", "path", p.sample.Path, "error", p.trial.short)
		}
	}
	t.turns.later(p, time.Now().Add(wait))
}

// wasRead notes that p was read to its end.
func (t *trials) wasRead(p *push) {
	t.mu.Lock()
	t.reads[p.file.tree.Path]++
	t.mu.Unlock()
	if t.short.Note(nil) == condition.Ended {
		t.log.Info("samples can be opened again")
	}
}

// treeReads reports whether another sample of p's tree was read after p could not be
// read. So a tree that cannot be read for a while, for example on a network, makes no
// dead letters. If the turns are crowded it returns true, because good samples wait
// behind the bad ones.
func (t *trials) treeReads(p *push) bool {
	if t.turns.crowded() {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reads[p.file.tree.Path] > p.trial.proof.since
}
