// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/certpush/certpush/pipeline/scan"
)

const (
	pingFor     = 10 * time.Second // a ping without an answer by then is none
	pingFirst   = 100 * time.Millisecond
	pingMax     = 10 * time.Second
	canaryEvery = 10 * time.Minute
)

// health knows whether a scanner is up: pings tell when to go on after it was
// down, the canary whether it detects.
type health struct {
	c       Scanner
	scanner scan.Scanner
	log     *slog.Logger

	mu     sync.Mutex
	s      healthState
	judged uint64        // verdicts given, the canary's among them
	up     chan struct{} // closed while up
	down   chan struct{} // a token: it went down
	busy   time.Time     // told to wait until then
	asked  time.Time     // when the version was told
	free   chan struct{} // closed while nobody paused it
}

type healthState struct {
	up      bool
	paused  bool // by an operator
	since   time.Time
	version string
	sick    bool // it went down although it answers: only a canary brings it back
	blind   bool // it answers, but wrongly: EICAR is nothing to it, or anything is malicious
	said    bool // its being down was logged
}

func newHealth(c Scanner, s scan.Scanner, log *slog.Logger) *health {
	h := &health{c: c, scanner: s, log: log, up: make(chan struct{}), down: make(chan struct{}, 1), free: make(chan struct{}), s: healthState{since: time.Now()}}
	close(h.free)
	return h
}

// pause stops pushing, or lets it go on; false means that it was so already.
func (h *health) pause(on bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.s.paused == on {
		return false
	}
	h.s.paused = on
	if on {
		h.free = make(chan struct{})
	} else {
		close(h.free)
	}
	return true
}

// open reports whether the scanner may be pushed to now.
func (h *health) open() bool {
	s := h.state()
	return s.up && !s.paused
}

func (h *health) state() healthState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.s
}

// wait returns when the scanner may be pushed to.
func (h *health) wait(ctx context.Context) error {
	for {
		h.mu.Lock()
		up, busy, isUp := h.up, time.Until(h.busy), h.s.up
		free, paused := h.free, h.s.paused
		h.mu.Unlock()
		if paused {
			select {
			case <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		if isUp && busy <= 0 {
			return ctx.Err()
		}
		if isUp {
			t := time.NewTimer(busy)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return ctx.Err()
			}
			continue
		}
		select {
		case <-up:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// judgedNow counts a verdict: it is the proof that the scanner works.
func (h *health) judgedNow(n int) {
	h.mu.Lock()
	h.judged += uint64(n)
	h.mu.Unlock()
}

func (h *health) judgedSoFar() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.judged
}

// rest makes pushing wait: the scanner is busy.
func (h *health) rest(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until := time.Now().Add(d); until.After(h.busy) {
		h.busy = until
	}
}

// fail pauses pushing: the scanner is down, or sick.
func (h *health) fail(err error, sick bool) {
	h.mu.Lock()
	h.s.sick = h.s.sick || sick
	was, said := h.s.up, h.s.said
	if was {
		h.s.up, h.s.since = false, time.Now()
		h.up = make(chan struct{})
	}
	h.s.said = true
	h.mu.Unlock()
	if !said {
		if sick {
			h.log.Error("scanner is sick; pushing to it pauses, journaling goes on: look at its log, its disk and its memory", "addresses", h.c.Addresses, "error", err)
		} else {
			h.log.Error("scanner is down; pushing to it pauses, journaling goes on: start it, or correct its address, and see `certpush check`", "addresses", h.c.Addresses, "error", err)
		}
	}
	if was {
		select {
		case h.down <- struct{}{}:
		default:
		}
	}
}

// Run pings at start and while the scanner is down, and pushes the canary at
// start and every ten minutes, until ctx ends.
func (h *health) Run(ctx context.Context) error {
	every := time.NewTicker(canaryEvery)
	defer every.Stop()
	h.recover(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.down:
			h.recover(ctx)
		case <-every.C:
			if h.state().up {
				h.canary(ctx)
			}
		}
	}
}

// recover pings until the scanner is ready, then lets pushing go on.
func (h *health) recover(ctx context.Context) {
	pace := backoff.NewExponentialBackOff()
	pace.InitialInterval, pace.MaxInterval = pingFirst, pingMax
	for ctx.Err() == nil {
		version, err := h.ping(ctx)
		if err == nil && (h.state().sick || !h.c.NoCanary) {
			err = h.tryCanary(ctx)
		}
		if err == nil {
			h.raise(version)
			return
		}
		if ctx.Err() != nil {
			return
		}
		h.fail(err, false)
		t := time.NewTimer(pace.NextBackOff())
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

func (h *health) ping(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pingFor)
	defer cancel()
	return h.scanner.Ping(ctx)
}

// version returns the scanner's version as it was told less than a second ago,
// "" when it does not tell.
func (h *health) version(ctx context.Context) string {
	h.mu.Lock()
	version, old := h.s.version, time.Since(h.asked) > versionGood
	if old {
		h.asked = time.Now() // one who asks is enough
	}
	h.mu.Unlock()
	if !old {
		return version
	}
	version, err := h.ping(ctx)
	if err != nil {
		version = ""
	}
	h.mu.Lock()
	h.s.version, h.asked = version, time.Now()
	h.mu.Unlock()
	return version
}

// raise says that the scanner is up.
func (h *health) raise(version string) {
	h.mu.Lock()
	was := h.s
	h.s = healthState{up: true, since: time.Now(), version: version, blind: was.blind, paused: was.paused}
	h.asked = time.Now()
	if !was.up {
		close(h.up)
	}
	h.mu.Unlock()
	if was.said {
		h.log.Info("scanner is up again", "after", time.Since(was.since).Round(time.Millisecond).String(), "version", version)
	} else {
		h.log.Info("scanner is up", "version", version)
	}
}

// canary pushes a clean file and EICAR while the scanner is up.
func (h *health) canary(ctx context.Context) {
	if h.c.NoCanary {
		return
	}
	if version, err := h.ping(ctx); err != nil {
		h.fail(err, false)
		return
	} else if h.state().up {
		h.mu.Lock()
		h.s.version = version
		h.mu.Unlock()
	}
	if err := h.tryCanary(ctx); err != nil && ctx.Err() == nil {
		h.fail(err, false)
	}
}

// tryCanary judges the canary. A scanner that answers but does not detect stays
// up: its verdicts are recorded, and what is wrong with them is said.
func (h *health) tryCanary(ctx context.Context) error {
	if h.c.Type == "discard" {
		return nil
	}
	err := scan.Canary(ctx, h.scanner)
	var f *scan.Failure
	if errors.As(err, &f) {
		if f.Kind == scan.Busy {
			return nil
		}
		return err
	}
	blind := errors.Is(err, scan.ErrBlind) || errors.Is(err, scan.ErrAlarm)
	if !blind { // a wrong verdict is no proof that a failed try is not the scanner's fault
		h.judgedNow(1)
	}
	h.mu.Lock()
	was := h.s.blind
	h.s.blind = blind
	h.mu.Unlock()
	switch {
	case blind && !was && errors.Is(err, scan.ErrAlarm):
		h.log.Error("scanner calls a harmless file malicious; look at its signatures, or set canary = false", "error", err)
	case blind && !was:
		h.log.Error("scanner answers but does not detect: it called the EICAR test file clean; load its signatures, or set canary = false if it is not meant to know EICAR")
	case !blind && was:
		h.log.Info("scanner detects again")
	}
	if blind {
		return nil
	}
	return err
}

// proven makes sure that the scanner judged something since it had judged n: a
// failed try counts against a sample only then.
func (h *health) proven(ctx context.Context, n uint64) bool {
	if h.judgedSoFar() > n {
		return true
	}
	if h.c.NoCanary || h.c.Type == "discard" {
		return false
	}
	if err := h.tryCanary(ctx); err != nil {
		if ctx.Err() == nil {
			var f *scan.Failure
			h.fail(err, errors.As(err, &f) && f.Kind != scan.Down)
		}
		return false
	}
	return h.judgedSoFar() > n
}
