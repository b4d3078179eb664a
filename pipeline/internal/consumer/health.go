// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
)

const (
	pingFor   = 10 * time.Second // a ping fails after this time
	silentFor = 5 * time.Second  // a scanner that says nothing for so long is loading or stalled
	pingFirst = 100 * time.Millisecond
	pingMax   = 10 * time.Second
	pingEvery = 10 * time.Minute
	keyGood   = time.Second // a scanner's key is good for this time
)

// health knows whether a scanner is up. After it was down, pings tell when to go on. The
// canary tells whether it detects.
type health struct {
	c       config.Scanner
	scanner scan.Scanner
	sights  *sights
	log     *slog.Logger

	mu     sync.Mutex // guards the fields below; down is a channel that never changes
	s      healthState
	judged uint64        // verdicts given, with those for the canary
	up     chan struct{} // closed while up, and not resumed
	down   chan struct{} // a token: it went down
	busy   time.Time     // the scanner asked us to wait until then
	free   chan struct{} // closed while it is not paused

	key    string    // the scanner's last key
	keyed  time.Time // when we asked for it
	asking *asking   // the question in flight; nil: none is
}

type healthState struct {
	up      bool
	paused  bool // by an operator: nothing is sent to it
	resumed bool // it was paused, and was asked nothing since
	since   time.Time
	version string
	sick    bool   // it went down although it answers: only a good canary brings it back
	blind   bool   // it answers, but no address of it sees: only a good canary brings it back
	said    bool   // it was logged that it is down
	why     string // the last error, while it is down
	silent  bool   // it was logged that it says nothing
}

func newHealth(c config.Scanner, s scan.Scanner, sights *sights, log *slog.Logger) *health {
	h := &health{c: c, scanner: s, sights: sights, log: log, up: make(chan struct{}), down: make(chan struct{}, 1), free: make(chan struct{}), s: healthState{since: time.Now()}}
	close(h.free)
	return h
}

// pause stops pushing, pings and canaries, or lets them go on: what the scanner sees is asked
// before anything is pushed. It returns false if that was so already.
func (h *health) pause(on bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.s.paused == on {
		return false
	}
	h.s.paused = on
	if on {
		h.free = make(chan struct{})
		return true
	}
	h.sights.age(time.Now())
	if h.s.up && !h.s.resumed {
		h.up = make(chan struct{})
	}
	h.s.resumed = true
	close(h.free)
	signal(h.down)
	return true
}

// restIfPaused ends the connections that the scanner keeps, if it was paused while something
// was under way.
func (h *health) restIfPaused() {
	if h.state().paused {
		rest(h.scanner)
	}
}

// open reports whether the scanner may be pushed to now.
func (h *health) open() bool {
	s := h.state()
	return s.up && !s.paused && !s.resumed
}

// unpaused waits until the scanner is not paused. Its error is ctx's.
func (h *health) unpaused(ctx context.Context) error {
	for h.state().paused {
		h.mu.Lock()
		free := h.free
		h.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

func (h *health) state() healthState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.s
}

// wait returns nil as soon as the scanner may be pushed to: it is up, not paused, and not
// busy. Its error is ctx's.
func (h *health) wait(ctx context.Context) error {
	for {
		h.mu.Lock()
		up, busy, isUp, paused := h.up, time.Until(h.busy), h.s.up && !h.s.resumed, h.s.paused
		h.mu.Unlock()
		if paused {
			if err := h.unpaused(ctx); err != nil {
				return err
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

// judgedNow counts n verdicts: they prove that the scanner works.
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

// rest makes pushing wait for at least d, because the scanner is busy.
func (h *health) rest(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until := time.Now().Add(d); until.After(h.busy) {
		h.busy = until
	}
}

// fail makes pushing wait until recover finds the scanner ready: it is down, or sick.
func (h *health) fail(err error, sick bool) {
	h.mu.Lock()
	h.s.sick = h.s.sick || sick
	was, said := h.s.up, h.s.said
	if was {
		if h.s.up, h.s.since = false, time.Now(); !h.s.resumed {
			h.up = make(chan struct{})
		}
	}
	if h.s.said = true; !h.s.silent {
		h.s.why = err.Error()
	}
	h.mu.Unlock()
	if !said {
		var f *scan.Failure
		if errors.As(err, &f) && f.Kind == scan.Unread {
			h.log.Error("canary of the scanner cannot be read; pushing to it waits, journaling goes on: correct canary = FILE, or let the user that certpush runs as read it", "error", err)
		} else if errors.Is(err, scan.ErrBlind) || errors.Is(err, scan.ErrAlarm) {
			h.log.Error("scanner is blind at every address; pushing to it waits, journaling goes on: see the messages about its addresses", "addresses", h.c.Addresses, "error", err)
		} else if sick {
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

// Run pings and asks canaries until ctx ends: at start, after a pause and while the scanner
// is down until it is ready. Then it pings every ten minutes, and sights asks the canaries.
func (h *health) Run(ctx context.Context) error {
	every := time.NewTicker(pingEvery)
	defer every.Stop()
	h.recover(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.down:
			if !h.open() {
				h.recover(ctx)
			}
		case <-every.C:
			if h.open() {
				h.again(ctx)
			}
		}
	}
}

// recover pings, and asks the canaries, until both succeed or ctx ends. Then it lets
// pushing go on.
func (h *health) recover(ctx context.Context) {
	pace := backoff.NewExponentialBackOff()
	pace.InitialInterval, pace.MaxInterval = pingFirst, pingMax
	for h.unpaused(ctx) == nil {
		version, err := h.ping(ctx)
		sick := false
		if err == nil {
			err = h.tryCanary(ctx)
			sick = answers(err)
		}
		if err == nil {
			h.raise(version)
			return
		}
		if ctx.Err() != nil {
			return
		}
		h.fail(err, sick)
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
	begun := time.Now()
	silent := time.AfterFunc(silentFor, func() { h.isSilent(begun) })
	defer silent.Stop()
	return h.scanner.Ping(ctx)
}

// isSilent notes that a ping has had no answer for a while, which a clamd that loads its
// database gives none either. It logs that once, until the scanner is up.
func (h *health) isSilent(since time.Time) {
	h.mu.Lock()
	said := h.s.silent
	if !said {
		h.s.silent, h.s.why = true, "loading or stalled since "+since.UTC().Format(time.RFC3339)
	}
	h.mu.Unlock()
	if !said {
		h.log.Warn("scanner takes connections and says nothing; it loads its database or is stalled: wait, or look at its log", "since", since.UTC().Format(time.RFC3339))
	}
}

// asking is one question for the scanner's key. All callers that need the key wait for
// it.
type asking struct {
	done chan struct{} // closed when key is set
	key  string
}

// judgesBy returns the scanner's key, which was asked for at most a second ago, or "" if
// it is not known. Concurrent callers wait for the one question in flight, because the
// previous key may belong to an older version. An answer that takes over a second is
// discarded.
func (h *health) judgesBy(ctx context.Context) string {
	h.mu.Lock()
	if time.Since(h.keyed) <= keyGood {
		defer h.mu.Unlock()
		return h.key
	}
	a, first := h.asking, h.asking == nil
	if first {
		a = &asking{done: make(chan struct{})}
		h.asking = a
	}
	h.mu.Unlock()
	if first {
		h.askKey(ctx, a)
	}
	select {
	case <-a.done:
		return a.key
	case <-ctx.Done():
		return ""
	}
}

// askKey asks the scanner, and gives the answer to all callers that wait for a.
func (h *health) askKey(ctx context.Context, a *asking) {
	begun := time.Now()
	short, cancel := context.WithTimeout(ctx, keyGood)
	defer cancel()
	a.key = h.scanner.Key(short)
	if took := time.Since(begun); took > keyGood {
		a.key, begun = "", begun.Add(took) // and it is not asked again for a second
	}
	h.mu.Lock()
	h.key, h.keyed, h.asking = a.key, begun, nil
	if a.key != "" {
		h.s.version = a.key
	}
	h.mu.Unlock()
	close(a.done)
}

// raise notes that the scanner is up, and logs that if it was not.
func (h *health) raise(version string) {
	h.mu.Lock()
	was := h.s
	h.s = healthState{up: true, since: time.Now(), version: version, paused: was.paused}
	h.keyed = time.Time{} // its version may have changed while it was down
	if was.up {
		h.s.since = was.since
	}
	if !was.up || was.resumed {
		close(h.up)
	}
	h.mu.Unlock()
	if was.up { // it was paused
		return
	}
	if was.said {
		h.log.Info("scanner is up again", "after", time.Since(was.since).Round(time.Millisecond).String(), "version", version)
	} else {
		h.log.Info("scanner is up", "version", version)
	}
}

// again pings a scanner that is up. If that fails, pushing waits.
func (h *health) again(ctx context.Context) {
	version, err := h.ping(ctx)
	if err != nil {
		h.fail(err, false)
		return
	}
	h.mu.Lock()
	if h.s.up {
		h.s.version, h.s.silent, h.s.why = version, false, ""
	}
	h.mu.Unlock()
}

// answers reports whether err, the error of a canary, came from a scanner that does
// answer: then it is sick or blind, not down.
func answers(err error) bool {
	var f *scan.Failure
	return errors.Is(err, scan.ErrBlind) || errors.Is(err, scan.ErrAlarm) || errors.As(err, &f) && f.Kind != scan.Down
}

// tryCanary asks the canaries. It returns nil if an address sees, or is busy.
func (h *health) tryCanary(ctx context.Context) error {
	if !h.sights.asks && (!h.state().sick || !h.c.Judges()) {
		return nil
	}
	err := h.sights.ask(ctx)
	h.restIfPaused()
	var f *scan.Failure
	if errors.As(err, &f) && f.Kind == scan.Busy {
		return nil
	}
	blind := errors.Is(err, scan.ErrBlind) || errors.Is(err, scan.ErrAlarm)
	if err == nil { // a wrong verdict does not prove that the scanner works
		h.judgedNow(1)
	}
	h.mu.Lock()
	h.s.blind = blind
	h.mu.Unlock()
	return err
}

// proven reports whether the scanner has given more than n verdicts. If it has not, it
// pushes the canary to find out. A failed try counts against a sample only then.
func (h *health) proven(ctx context.Context, n uint64) bool {
	if h.judgedSoFar() > n {
		return true
	}
	if !h.sights.asks {
		return false
	}
	if err := h.tryCanary(ctx); err != nil {
		if ctx.Err() == nil {
			h.fail(err, answers(err))
		}
		return false
	}
	return h.judgedSoFar() > n
}
