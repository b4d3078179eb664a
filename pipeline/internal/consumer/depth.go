// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
)

// ladder are the sizes in bytes, the largest first, at which depth is asked where samples
// need no more, and where the scanner does not see as deep as it should.
var ladder = []int64{100 << 20, 25 << 20, 3 << 20, 1 << 20, scan.Small}

// depthOf returns how deep the scanner should look, in bytes: as deep as max_size, but not
// over sight_depth. Without max_size it is the largest size that is asked for.
func depthOf(c config.Scanner) int64 {
	most := c.SightDepth
	if most < 0 {
		most = c.MaxSize
	}
	switch {
	case c.MaxSize > 0 && most > 0:
		return min(c.MaxSize, most)
	case c.MaxSize > 0:
		return c.MaxSize
	}
	return ladder[0]
}

// deepRest is how long no sample was pushed to an address before the whole depth is asked.
// A canary of 64 MiB keeps a scanner busy for seconds. So while samples flow the canary is
// as deep as they need, and no deeper, until so many bytes were pushed that it is a small
// part of them.
const deepRest = time.Second

// deepEvery is how often the whole depth is asked where little is pushed: since it was asked
// last the ledger is kept.
const deepEvery = 24 * time.Hour

// wantDeep notes that a sample of this size in bytes waits for a deep canary. The caller
// holds sights.mu.
func (e *eye) wantDeep(size int64) {
	if e.sight.Plain == scan.Yes && size > max(e.sight.Deep, e.need, scan.Small) {
		e.need = size
		signal(e.deeper)
	}
}

// rests reports whether no sample is pushed to the address now. The caller holds sights.mu.
func (e *eye) rests(now time.Time) bool {
	return now.Sub(e.flowed) >= deepRest && now.Sub(e.sight.Since) >= deepRest
}

// wantsDepth reports whether a deep canary is due that was not answered in full yet. since
// is how long ago one was asked. The caller holds sights.mu.
func (e *eye) wantsDepth(most int64, now time.Time, since time.Duration) bool {
	switch {
	case e.step > 0 && e.sight.Deep > 0: // it is too slow for more
		return since >= plainEvery
	case e.step > 0:
		return since >= askAgain
	case e.need > e.sight.Deep:
		return e.sight.Depth != scan.NoAnswer || since >= askAgain
	}
	return e.affords(most, now) && (e.sight.Depth != scan.NoAnswer || since >= askAgain)
}

// affords reports whether the whole depth may be asked at an address now. The caller holds
// sights.mu.
func (e *eye) affords(most int64, now time.Time) bool {
	return e.rests(now) || e.pushed >= deepShare*most
}

// deepNow returns how deep the canary is, in bytes, that is asked now: as deep as the
// address should look, which is most; but where only samples wait for it, as deep as they
// need, and then these do not wait any more. The caller holds sights.mu.
func (e *eye) deepNow(most int64) int64 {
	need := e.need
	e.need = 0
	if !e.heard[scan.Depth].IsZero() || need == 0 || e.affords(most, time.Now()) {
		return most
	}
	for _, size := range slices.Backward(ladder) {
		if size >= need {
			return min(size, most)
		}
	}
	return most
}

// reach asks whether an address looks as deep as size bytes, unless that is known. It is
// for one who does not wait for tend.
func (s *sights) reach(ctx context.Context, address string, size int64) {
	e := s.of(address)
	if !s.asks || e == nil || size <= scan.Small {
		return
	}
	s.mu.Lock()
	known := e.sight.Plain != scan.Yes || size <= e.sight.Deep || e.sight.Depth == scan.Yes || e.sight.Depth == scan.No
	s.mu.Unlock()
	if known {
		return
	}
	made, err := canariesOf(s.c, s.dir)
	if err == nil {
		_ = s.askMade(ctx, e, made, scan.Depth, min(size, depthOf(s.c))) // noted
	}
}

// errShallow says that a deep canary was answered, and deeper ones were not.
var errShallow = errors.New("deeper canaries were not answered in time")

// errPartly says that a deep canary was seen, and deeper ones were not asked.
var errPartly = errors.New("deeper canaries are asked when a sample needs them, or when none is pushed")

// stepwise is howDeep at want bytes, or at less if a deep canary was not answered before:
// a scanner that is too slow for the largest sample may be quick enough for most.
func (s *sights) stepwise(ctx context.Context, e *eye, made scan.Canaries, want int64) (shown scan.Shown, deep int64, err error) {
	s.mu.Lock()
	asked := want
	if e.step > 0 {
		asked = min(want, e.step)
	}
	s.mu.Unlock()
	shown, deep, err = e.howDeep(ctx, made, asked)
	next := int64(0)
	switch {
	case ctx.Err() != nil:
		return shown, deep, err
	case unanswered(err):
		next = scan.Small
		for _, size := range slices.Backward(ladder) {
			if size < asked {
				next = size
			}
		}
	case err == nil && shown.Sees && asked < want:
		err = errShallow
	case err == nil && shown.Sees && asked < depthOf(s.c):
		err = errPartly
	}
	s.mu.Lock()
	e.step = next
	s.mu.Unlock()
	return shown, deep, err
}

// howDeep asks at want bytes, and if that is not seen at less and less. deep is the
// largest size that was seen.
func (e *eye) howDeep(ctx context.Context, made scan.Canaries, want int64) (shown scan.Shown, deep int64, err error) {
	shown, err = made.Ask(ctx, e.scanner, scan.Depth, want)
	if err == nil && shown.Sees {
		return shown, want, nil
	}
	for _, size := range ladder {
		if err != nil || size >= want {
			continue
		}
		var less scan.Shown
		if less, err = made.Ask(ctx, e.scanner, scan.Depth, size); err == nil && less.Sees {
			return shown, size, nil
		}
	}
	return shown, 0, err
}
