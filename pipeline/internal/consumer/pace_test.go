// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
)

// load pushes through a pace: at most so many samples wait for a place at a time, and
// each takes its time, which depends on how many are with the scanner.
type load struct {
	*pace
	waiting int                              // how many samples wait, beside those in flight
	takes   func(inFlight int) time.Duration // what the scanner needs for one
}

// run pushes for a time, in virtual time.
func (l *load) run(d time.Duration) {
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		n := 0
		for n < l.waiting && l.tryTake() {
			n++
		}
		if n < l.waiting {
			l.want()
		}
		time.Sleep(l.takes(n))
		for range n {
			l.answered(4096)
			l.give()
		}
		if n == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// TestPaceGrowsWhileMoreWait: from 2 to 64 within half a second and a bit, and back when
// few come.
func TestPaceGrowsWhileMoreWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := load{newPace(config.Scanner{}, nil), 1000, func(int) time.Duration { return 10 * time.Millisecond }}
		if n := l.places(); n != 2 {
			t.Errorf("it begins with %d", n)
		}
		l.run(600 * time.Millisecond)
		if n := l.places(); n != 64 {
			t.Errorf("%d after 600 ms of backlog", n)
		}
		l.run(time.Minute)
		if n := l.places(); n != 64 {
			t.Errorf("%d after a minute of backlog", n)
		}
		l.waiting = 1
		l.run(time.Minute)
		if n := l.places(); n != 2 {
			t.Errorf("%d after a minute of single samples", n)
		}
	})
}

// TestPaceStaysWhereFewCome: one sample at a time needs no more places, however many come.
func TestPaceStaysWhereFewCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := load{newPace(config.Scanner{}, nil), 2, func(int) time.Duration { return 10 * time.Millisecond }}
		l.run(time.Minute)
		if n := l.places(); n != 2 {
			t.Errorf("%d places for 2 samples at a time", n)
		}
	})
}

// TestPaceHalvesWhenTheScannerIsBusy, once a second, never below 2, and grows slowly after.
func TestPaceHalvesWhenTheScannerIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := load{newPace(config.Scanner{}, nil), 1000, func(int) time.Duration { return 10 * time.Millisecond }}
		l.run(time.Second)
		for range 10 {
			l.busy()
		}
		if n := l.places(); n != 32 {
			t.Errorf("%d after BUSY", n)
		}
		l.run(10 * time.Second)
		if n := l.places(); n < 38 || n > 45 {
			t.Errorf("%d ten seconds later", n)
		}
		for range 10 {
			time.Sleep(paceLooks)
			l.busy()
		}
		if n := l.places(); n != 2 {
			t.Errorf("%d after ten seconds of BUSY", n)
		}
	})
}

// TestPaceHalvesWhenLessComesOut: a scanner gets much slower with more than 40 samples.
func TestPaceHalvesWhenLessComesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(config.Scanner{}, nil)
		p.steady = true // so that it passes each number
		l := load{p, 1000, func(n int) time.Duration {
			if n > 40 {
				return time.Second
			}
			return 10 * time.Millisecond
		}}
		most := 0
		for range 200 {
			l.run(time.Second)
			most = max(most, l.places())
		}
		if n := l.places(); n > 45 || most < 40 || most > 45 {
			t.Errorf("%d places, %d at most", n, most)
		}
	})
}

// TestANumberIsObeyed, whatever the scanner says.
func TestANumberIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := load{newPace(config.Scanner{Workers: 7}, nil), 1000, func(int) time.Duration { return 10 * time.Millisecond }}
		l.run(time.Minute)
		l.busy()
		if n := l.places(); n != 7 {
			t.Errorf("%d places", n)
		}
	})
}

// TestTakeWaitsForAPlace, until ctx ends.
func TestTakeWaitsForAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(config.Scanner{Workers: 1}, nil)
		none := func() bool { return false }
		if !p.take(t.Context(), none) || !p.full() {
			t.Fatal("the place is not taken")
		}
		time.AfterFunc(time.Second, p.give)
		begun := time.Now()
		if !p.take(t.Context(), none) || time.Since(begun) != time.Second {
			t.Errorf("taken after %v", time.Since(begun))
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if p.take(ctx, none) {
			t.Error("two have the one place")
		}
	})
}

// TestATimeLimitThatPassedHalvesNothing: it tells of a sample. BUSY and a refused
// connection tell of the scanner.
func TestATimeLimitThatPassedHalvesNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		err  *scan.Failure
		want int
	}{
		{"time limit", scan.Failed(scan.Down, "read reply: %w", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}), 64},
		{"refused sample", scan.Failed(scan.Refused, "it cannot be scanned"), 64},
		{"refused connection", scan.Failed(scan.Down, "connect: %w", syscall.ECONNREFUSED), 32},
		{"busy", scan.Failed(scan.Busy, "wait"), 32},
	} {
		w := &workers{pace: newPace(config.Scanner{}, nil)}
		w.pace.room = 64
		w.paced(&entry{answer: scan.Answer{Err: c.err}})
		if n := w.pace.places(); n != c.want {
			t.Errorf("%s: %d places, want %d", c.name, n, c.want)
		}
	}
}

// boundedTo is a scanner that tells how many samples it takes.
type boundedTo struct {
	scan.Scanner
	most int
}

func (b boundedTo) Most() int { return b.most }

// TestPaceStaysBelowWhatTheScannerTells, but a number in the file is obeyed.
func TestPaceStaysBelowWhatTheScannerTells(t *testing.T) {
	for _, c := range []struct{ workers, tells, want int }{{0, 10, 10}, {0, 0, 64}, {0, 500, 64}, {0, 1, leastPlaces}, {30, 10, 30}} {
		synctest.Test(t, func(t *testing.T) {
			l := load{newPace(config.Scanner{Workers: c.workers}, boundedTo{most: c.tells}), 1000, func(int) time.Duration { return 10 * time.Millisecond }}
			l.run(2 * time.Second)
			if n := l.places(); n != c.want {
				t.Errorf("%+v: %d places", c, n)
			}
		})
	}
}
