// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
)

const (
	plainEvery  = time.Minute      // while samples flow, a plain canary is asked at least this often
	othersEvery = time.Hour        // so often the other canaries are asked again
	askAgain    = 10 * time.Second // an address that does not see, or does not answer, is asked again
	doubtEvery  = 5 * time.Second  // a void session brings a plain canary, at most so often
	deepShare   = 100              // a deep canary is at most one byte in this many of those pushed
)

// sights holds what the canaries have shown of each address of one scanner, and asks
// them. It bounds what an answer of an address may be called.
type sights struct {
	c    config.Scanner
	log  *slog.Logger
	in   memory
	dir  string        // where deep canaries lie
	deep chan struct{} // a token for each deep canary that may be asked at once, by all scanners
	asks bool          // false: no canary is asked
	base scan.Scanner
	eyes []*eye // one for each address; the slice never changes

	mu sync.Mutex // guards what the eyes say that it guards
}

// eye is what is known of one address.
type eye struct {
	scanner scan.Scanner  // asks this address alone
	soon    chan struct{} // a token: a plain canary is wanted
	deeper  chan struct{} // a token: a sample needs a deep one
	turn    chan struct{} // a token for the one who asks canaries

	// sights.mu guards the fields below.
	sight  scan.Sight
	fell   []scan.Canary             // those that are seen no more, whose cleans are not taken back yet
	says   *said                     // what it calls clean by what it sees now
	before []*said                   // what it called clean by what it saw before it fell, not taken back yet
	blind  bool                      // it was blind, and was not shown anew since what it sees beside the plain canary
	tried  map[scan.Canary]time.Time // when it was asked last
	heard  map[scan.Canary]time.Time // when it was answered last
	shown  map[scan.Canary]string    // by which version it was answered
	pushes int                       // since the last plain canary
	pushed int64                     // bytes since the last deep canary
	flowed time.Time                 // when it judged a sample last
	need   int64                     // bytes: so large a sample waits for a deep canary; 0: none does
	step   int64                     // bytes: deeper canaries than this were not answered; 0: none was asked in vain
}

func newSights(c Config, in memory) *sights {
	if c.Dirs != nil {
		return newSightsIn(c.Dirs.Cursors.Path(), c, in)
	}
	return newSightsIn("", c, in)
}

// newSightsIn is newSights where canaries that take a disk lie in dir; empty: the system's
// folder, and one of them is not asked.
func newSightsIn(dir string, c Config, in memory) *sights {
	s := &sights{c: c.Scanner, log: c.Log, in: in, dir: dir, deep: c.Deep, base: c.Scan}
	if s.deep == nil {
		s.deep = make(chan struct{}, 1)
	}
	s.asks = s.c.Judges() && s.c.Sight >= 0
	names := []string{""}
	addressed, is := s.base.(scan.Addressed)
	if is {
		names = addressed.Addresses()
	}
	for _, name := range names {
		e := &eye{
			scanner: s.base, soon: make(chan struct{}, 1), deeper: make(chan struct{}, 1), turn: make(chan struct{}, 1), says: newSaid(),
			sight: scan.Sight{Address: name, Plain: scan.NotAsked, Archive: scan.NotAsked, Encrypted: scan.NotAsked, Depth: scan.NotAsked, Since: time.Now()},
			tried: map[scan.Canary]time.Time{}, heard: map[scan.Canary]time.Time{}, shown: map[scan.Canary]string{},
		}
		if is {
			e.scanner = addressed.At([]string{name})
		}
		if scan.HandsOver(e.scanner) && s.dir != "" {
			e.sight.Ordinary = scan.NotAsked
		}
		s.eyes = append(s.eyes, e)
	}
	return s
}

// scanner returns the scanner that asks only the addresses that see.
func (s *sights) scanner() scan.Scanner {
	addressed, is := s.base.(scan.Addressed)
	if !is || !s.asks || len(s.eyes) == 1 {
		return s.base
	}
	var seeing []string
	s.mu.Lock()
	for _, e := range s.eyes {
		if e.sight.Plain == scan.Yes {
			seeing = append(seeing, e.sight.Address)
		}
	}
	s.mu.Unlock()
	if len(seeing) == len(s.eyes) {
		return s.base
	}
	return addressed.At(seeing)
}

// of returns what is known of an address, or nil if the scanner does not have it now. A
// scanner whose addresses are not told apart has one without a name.
func (s *sights) of(address string) *eye {
	for _, e := range s.eyes {
		if e.sight.Address == address || e.sight.Address == "" {
			return e
		}
	}
	return nil
}

// all returns the sight of each address. What a blind one was shown to see before it was
// blind does not hold any more: it is to be shown anew.
func (s *sights) all() (all []scan.Sight) {
	if !s.asks {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.eyes {
		is := e.sight
		if is.Plain == scan.No {
			is = forgotten(is)
		}
		all = append(all, is)
	}
	return all
}

// cover reports whether an address that sees has been asked enough for a clean of a file
// of this size in bytes. Until then such a sample waits.
func (s *sights) cover(size int64) bool {
	if !s.asks {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.eyes, func(e *eye) bool { return e.sight.Covers(size) }) {
		return true
	}
	for _, e := range s.eyes {
		e.wantDeep(size)
	}
	return false
}

// bound returns what an answer about f may be called, by the sight of its address. ok is
// false if the answer does not count: the address judges nothing now. The caller
// ends by when the outcome is recorded, or is not to be: until then no clean that was said
// by the same sight is taken back, so none is forgotten.
func (s *sights) bound(a scan.Answer, f scan.File) (out scan.Answer, by *said, ok bool) {
	switch {
	case a.Err != nil || !s.c.Judges(): // sight does not apply to it
		return a, nil, true
	case !s.asks && a.Verdict == scan.Clean:
		a.Verdict, a.Reason = scan.Unscanned, scan.ReasonNoSight
		return a, nil, true
	case !s.asks:
		return a, nil, true
	}
	e := s.of(a.Address)
	if e == nil {
		return a, nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if out, ok = e.sight.Bound(a, f); ok && out.Verdict == scan.Clean {
		by = e.says
		by.begin()
	}
	return out, by, ok
}

// falls notes that an address sees a canary no more. The caller holds mu.
func (e *eye) falls(canary scan.Canary) {
	e.fell = append(e.fell, canary)
	e.says.finish()
	e.before = append(e.before, e.says)
	e.says = newSaid()
}

// flows notes that an address judged a sample of this size in bytes, and by which
// version. After a new version all canaries are asked again.
func (s *sights) flows(a scan.Answer, size int64) {
	e := s.of(a.Address)
	if e == nil {
		return
	}
	s.mu.Lock()
	e.pushes++
	e.pushed += size
	e.flowed = time.Now()
	changed := a.Version != "" && e.sight.Version != "" && a.Version != e.sight.Version
	s.mu.Unlock()
	if changed {
		s.doubt(a.Address)
	}
}

// doubt wants a plain canary at an address soon: a session there was void, or it has a
// new version.
func (s *sights) doubt(address string) {
	if e := s.of(address); e != nil {
		signal(e.soon)
	}
}

// ask asks the plain canary at all addresses at once, and what else was never asked, but
// for depth, where it is seen. It returns nil if an address sees. Otherwise the error
// wraps scan.ErrBlind, scan.ErrAlarm, or the *scan.Failure if none answered.
func (s *sights) ask(ctx context.Context) error {
	errs := make([]error, len(s.eyes))
	var all sync.WaitGroup
	for i, e := range s.eyes {
		all.Go(func() {
			if errs[i] = s.askOne(ctx, e, scan.Plain); errs[i] == nil {
				for _, canary := range []scan.Canary{scan.Archive, scan.Encrypted} {
					if s.answered(e, canary).IsZero() {
						_ = s.askOne(ctx, e, canary) // noted; that the address sees is enough
					}
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err == nil {
			return nil
		}
	}
	for _, err := range errs { // a blind address tells more than one that is down
		if errors.Is(err, scan.ErrBlind) || errors.Is(err, scan.ErrAlarm) {
			return err
		}
	}
	return errs[0]
}

func (s *sights) answered(e *eye, canary scan.Canary) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.heard[canary]
}

// askOne asks one canary at one address, notes the answer, and takes back the verdicts that
// do not hold any more. It returns nil if the address sees the canary. Otherwise the error
// says why it does not, or why there was no answer.
func (s *sights) askOne(ctx context.Context, e *eye, canary scan.Canary) error {
	err := s.inTurn(ctx, e, canary)
	s.takeBack(ctx, e)
	return err
}

// inTurn asks one canary at one address, when nobody else does.
func (s *sights) inTurn(ctx context.Context, e *eye, canary scan.Canary) error {
	turns := []chan struct{}{e.turn}
	if canary == scan.Depth { // first: who waits for a deep one keeps nobody from asking a plain one
		turns = []chan struct{}{s.deep, e.turn}
	}
	for _, turn := range turns {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	made, err := canariesOf(s.c, s.dir)
	if err != nil {
		s.note(e, canary, 0, scan.Shown{}, err)
		return err
	}
	want := depthOf(s.c)
	if canary == scan.Depth {
		s.mu.Lock()
		want = e.deepNow(want)
		s.mu.Unlock()
	}
	return s.askMade(ctx, e, made, canary, want)
}

// askMade asks one canary. A wrong answer counts if the plain one is right and the answer
// is the same again. want is of scan.Depth, in bytes.
func (s *sights) askMade(ctx context.Context, e *eye, made scan.Canaries, canary scan.Canary, want int64) error {
	mark := s.in.mark() // before the question: what was called clean before is confirmed by a good answer
	ask := func() (shown scan.Shown, deep int64, err error) {
		if canary == scan.Depth {
			return s.stepwise(ctx, e, made, want)
		}
		shown, err = made.Ask(ctx, e.scanner, canary, 0)
		return shown, 0, err
	}
	shown, deep, err := ask()
	if canary != scan.Plain && err == nil && !shown.Sees {
		if !s.confirm(ctx, e, made) {
			return scan.ErrBlind
		}
		shown, deep, err = ask()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fell := s.note(e, canary, deep, shown, err)
	if canary != scan.Plain && unanswered(err) {
		s.hasten(e) // it may answer nothing any more
	}
	if (err == nil && shown.Sees || deep > 0) && !fell && canary != scan.Ordinary {
		s.in.saw(e.sight.Address, canary, mark, deep)
	}
	return errors.Join(err, shown.Why)
}

// unanswered reports whether err is that of a canary that was made and not answered.
func unanswered(err error) bool {
	var f *scan.Failure
	return errors.As(err, &f) && f.Kind != scan.Unread
}

// canariesOf returns what makes the canaries of a scanner, those of depth in dir.
func canariesOf(c config.Scanner, dir string) (scan.Canaries, error) {
	made := scan.Canaries{Dir: dir}
	if c.Canary == "" {
		return made, nil
	}
	test, err := readCanary(c.Canary)
	if err != nil {
		return made, &scan.Failure{Kind: scan.Unread, Err: fmt.Errorf("read canary %s: %w", c.Canary, err)}
	}
	made.Test = test
	return made, nil
}

// maxCanary is how large, in bytes, the file may be that a scanner must call malicious.
const maxCanary = 1 << 20

func readCanary(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	test, err := io.ReadAll(io.LimitReader(f, maxCanary+1))
	switch {
	case err != nil:
		return nil, err
	case len(test) == 0:
		return nil, errors.New("it is empty")
	case len(test) > maxCanary:
		return nil, errors.New("it has over 1 MiB")
	}
	return test, nil
}

// confirm asks the plain canary, before a wrong answer to another one is believed and that
// one is asked again: an address that is blind does not answer wrongly about archives
// alone, and one that just began to see may have answered in between.
func (s *sights) confirm(ctx context.Context, e *eye, made scan.Canaries) bool {
	shown, err := made.Ask(ctx, e.scanner, scan.Plain, 0)
	if ctx.Err() == nil {
		s.note(e, scan.Plain, 0, shown, err)
	}
	return err == nil && shown.Sees
}
