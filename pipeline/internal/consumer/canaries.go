// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
)

// note notes what a canary has shown of an address, or that there was no answer. It logs
// what changed. deep is of scan.Depth: into how large a file the address looks, in bytes.
// fell says that the address does not see any more what it saw; e.fell says so until
// takeBack has dealt with it.
func (s *sights) note(e *eye, canary scan.Canary, deep int64, shown scan.Shown, err error) (fell bool) {
	now := time.Now()
	s.mu.Lock()
	is := e.seen(canary)
	was := *is
	e.tried[canary] = now
	switch {
	case err == nil && shown.Sees:
		*is = scan.Yes
	case err == nil:
		*is = scan.No
	case errors.Is(err, errPartly): // it was answered, as deep as it was asked
	case was == scan.NotAsked || now.Sub(e.heard[canary]) > 3*s.c.Sight:
		*is = scan.NoAnswer // else the last answer stays
	}
	why := ""
	if text := cmp.Or(shown.Why, err); text != nil {
		why = text.Error()
	}
	if err == nil {
		if shown.Version == "" { // nobody was asked: this canary cannot be made
			shown.Version = e.sight.Version
		}
		e.heard[canary], e.shown[canary] = now, shown.Version
	}
	turned := *is == scan.No && was != scan.No && canary != scan.Ordinary // no clean rests on that
	less := canary == scan.Depth && err == nil && deep < e.sight.Deep
	if canary == scan.Depth && err == nil {
		turned = turned || less
		e.sight.Deep, e.pushed = deep, 0
	} else if canary == scan.Depth {
		e.sight.Deep = max(e.sight.Deep, deep) // for larger ones the last answer stays, if there was one
	}
	if canary == scan.Plain {
		e.sight.Why = why
		if err == nil {
			e.sight.Asked, e.sight.Version, e.pushes = now, shown.Version, 0
		}
		if *is != was {
			e.sight.Since = now
		}
		e.blind = e.blind || *is == scan.No
		if *is == scan.Yes && e.blind { // all that it was shown to see before is to be shown anew
			e.sight = forgotten(e.sight)
			e.blind, was = false, scan.No // it may have been silent in between
			clear(e.tried)
			clear(e.heard)
			e.tried[canary], e.heard[canary] = now, now
		}
	}
	if turned {
		e.falls(canary)
	}
	after := *is
	s.mu.Unlock()
	s.tell(e.sight.Address, canary, was, after, why)
	if less && was == scan.No && after == scan.No {
		s.log.Warn("scanner address looks less deep than before: a clean of a larger file is called unscanned, and those that it gave are pushed again", "address", e.sight.Address, "bytes", deep, "error", why, "hint", scan.Hint(canary))
	}
	return turned
}

// forgotten returns is without what it says beside the plain canary.
func forgotten(is scan.Sight) scan.Sight {
	is.Archive, is.Encrypted, is.Depth, is.Deep = scan.NotAsked, scan.NotAsked, scan.NotAsked, 0
	if is.Ordinary != "" {
		is.Ordinary = scan.NotAsked
	}
	return is
}

// seen returns where the answer of a canary stands. The caller holds sights.mu.
func (e *eye) seen(canary scan.Canary) *scan.Seen {
	switch canary {
	case scan.Archive:
		return &e.sight.Archive
	case scan.Encrypted:
		return &e.sight.Encrypted
	case scan.Depth:
		return &e.sight.Depth
	case scan.Ordinary:
		return &e.sight.Ordinary
	}
	return &e.sight.Plain
}

// tell logs that the sight of an address changed.
func (s *sights) tell(address string, canary scan.Canary, was, is scan.Seen, why string) {
	switch {
	case was == is:
	case is == scan.No && canary == scan.Plain:
		s.log.Error("scanner address is blind: it gets no samples, and what it called clean since its last good canary is pushed again", "address", address, "error", why, "hint", scan.Hint(canary))
	case is == scan.Yes && canary == scan.Plain && was == scan.No:
		s.log.Info("scanner address sees again", "address", address)
	case is == scan.No && canary == scan.Ordinary:
		s.log.Warn("scanner address is kept from ordinary files: larger samples are tried, and may be refused there", "address", address, "error", why, "hint", scan.Hint(canary))
	case is == scan.No:
		s.log.Warn("scanner address does not see all: what it cannot see is called unscanned, not clean", "address", address, "canary", string(canary), "error", why, "hint", scan.Hint(canary))
	case is == scan.Yes && was == scan.No:
		s.log.Info("scanner address sees more than before", "address", address, "canary", string(canary))
	case (is == scan.NoAnswer || was == scan.NoAnswer) && canary == scan.Ordinary: // no sample waits for it
	case is == scan.NoAnswer && canary != scan.Plain: // that it does not answer at all is logged elsewhere
		s.log.Warn("scanner address does not answer a canary; samples that need it wait, and it is asked again: look at its log, its load and its limits of time", "address", address, "canary", string(canary), "error", why)
	case was == scan.NoAnswer && canary != scan.Plain:
		s.log.Info("scanner address answers the canary again", "address", address, "canary", string(canary))
	}
}

// tend asks the canaries of one address whenever they are due, until ctx ends. It waits
// while the scanner is down, for then health asks, and while it is paused.
func (s *sights) tend(ctx context.Context, e *eye, h *health) error {
	if !s.asks {
		return nil
	}
	for {
		rest := time.Second
		if h.open() {
			var due scan.Canary
			if due, rest = s.due(e, time.Now()); due != "" {
				err := s.askOne(ctx, e, due)
				h.restIfPaused()
				if err != nil && ctx.Err() == nil && due == scan.Plain && s.hopeless(err) {
					h.fail(err, answers(err))
				}
				rest = 0
			}
		}
		t := time.NewTimer(rest)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		case <-e.deeper:
			t.Stop()
		case <-e.soon:
			t.Stop()
			s.hasten(e)
		}
	}
}

// age notes that the scanner was asked nothing for a while: what a canary showed that would
// have been asked again by now is to be shown anew, and what needs it waits.
func (s *sights) age(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.eyes {
		for _, canary := range []scan.Canary{scan.Archive, scan.Encrypted, scan.Depth, scan.Ordinary} {
			heard := e.heard[canary]
			if heard.IsZero() || now.Sub(heard) < othersEvery {
				continue
			}
			*e.seen(canary) = scan.NotAsked
			delete(e.heard, canary)
			delete(e.tried, canary)
			if canary == scan.Depth {
				e.sight.Deep = 0
			}
		}
	}
}

// hopeless reports whether nothing can be pushed, now that a plain canary had the error
// err: no address sees, or the only one does not answer and is not busy.
func (s *sights) hopeless(err error) bool {
	var f *scan.Failure
	if errors.As(err, &f) && f.Kind == scan.Busy {
		return false
	}
	if f != nil && len(s.eyes) == 1 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.eyes, func(e *eye) bool { return e.sight.Plain == scan.Yes })
}

// hasten makes the plain canary due, unless it was asked just now.
func (s *sights) hasten(e *eye) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(e.tried[scan.Plain]) >= doubtEvery {
		e.tried[scan.Plain] = time.Time{}
	}
}

// due returns the canary of an address that is to be asked now, or "" and how long it is
// until one may be.
func (s *sights) due(e *eye, now time.Time) (scan.Canary, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	every := s.c.Sight
	if e.pushes > 0 {
		every = min(every, plainEvery)
	}
	if e.sight.Plain != scan.Yes {
		every = min(every, askAgain)
	}
	left := max(every, time.Second) - now.Sub(e.tried[scan.Plain])
	if left <= 0 {
		return scan.Plain, 0
	}
	if e.sight.Plain != scan.Yes {
		return "", min(left, time.Second)
	}
	for _, canary := range []scan.Canary{scan.Archive, scan.Encrypted, scan.Depth, scan.Ordinary} {
		if s.wants(e, canary, now) {
			return canary, 0
		}
	}
	return "", min(left, time.Second)
}

// wants reports whether a canary other than plain is due. The caller holds mu.
func (s *sights) wants(e *eye, canary scan.Canary, now time.Time) bool {
	since := now.Sub(e.tried[canary])
	switch heard := e.heard[canary]; {
	case *e.seen(canary) == "": // it takes no descriptors
		return false
	case heard.IsZero() && canary == scan.Depth:
		return e.wantsDepth(depthOf(s.c), now, since)
	case heard.IsZero():
		return since >= askAgain
	case e.shown[canary] != e.sight.Version:
		return since >= doubtEvery
	case canary == scan.Depth && e.pushed < deepShare*depthOf(s.c):
		return now.Sub(heard) >= deepEvery && e.rests(now)
	case canary == scan.Ordinary && e.sight.Ordinary == scan.No:
		return since >= plainEvery
	default:
		return now.Sub(heard) >= othersEvery && since >= askAgain
	}
}

// takeBack makes everything be pushed again, and forgotten, that an address called clean
// since each canary was good that it does not see any more. It waits until what was said
// by that sight is recorded. The caller holds no turn: it may take long.
func (s *sights) takeBack(ctx context.Context, e *eye) {
	s.mu.Lock()
	fell, before, deep := e.fell, e.before, e.sight.Deep
	e.fell, e.before = nil, nil
	s.mu.Unlock()
	recorded := func() error {
		for _, by := range before {
			select {
			case <-by.recorded:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}
	for _, canary := range fell {
		for {
			is := int64(0)
			if canary == scan.Depth {
				is = deep
			}
			n, err := s.in.retract(ctx, e.sight.Address, canary, is, recorded)
			if n > 0 && err == nil {
				s.log.Warn("verdicts are taken back: these samples are pushed again", "address", e.sight.Address, "canary", string(canary), "samples", n)
			}
			if err == nil {
				break
			}
			s.log.Error("verdicts cannot be taken back; it is tried again: look at the disk", "address", e.sight.Address, "error", err)
			if !wait(ctx, recordAgain) {
				return // the next start takes them back, if it was noted that they are lost
			}
		}
	}
}
