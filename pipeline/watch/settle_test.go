// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// desk is a settler whose questions the test answers.
type desk struct {
	*settler
	t    *tree
	mu   sync.Mutex // guards the fields below
	now  finding
	stat Stat
	when []time.Duration
	held int // how many questions came for a file that is held open
}

// newDesk returns a desk whose files settle after a second.
func newDesk(limit time.Duration) *desk {
	d := &desk{t: &tree{ground: ground{Tree: Tree{Settle: time.Second, SettleLimit: limit}}}}
	d.settler = newSettler(&Watcher{})
	d.settler.nap = time.Sleep // which uses the clock of the test
	d.settler.ask = func(_ *tree, _ string, _ *Stat, held bool) (finding, Stat) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if held {
			d.held++
			return written, d.stat
		}
		d.when = append(d.when, time.Since(d.epoch))
		return d.now, d.stat
	}
	return d
}

func (d *desk) answer(f finding, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now, d.stat = f, Stat{Size: size}
}

// asked returns the times of the questions since its last call.
func (d *desk) asked() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.when
	d.when = nil
	return w
}

func (d *desk) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { d.run(ctx) })
	t.Cleanup(func() { cancel(); all.Wait() })
}

func (d *desk) received() (Calm, bool) {
	synctest.Wait()
	select {
	case c := <-d.out:
		return c, true
	default:
		return Calm{}, false
	}
}

func TestScheduleUnderAWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Hour)
		d.answer(written, 1)
		d.start(t)
		d.touch(d.t, "/f")
		time.Sleep(400 * time.Millisecond)
		const us = time.Microsecond
		want := []time.Duration{0, 200 * us, 700 * us, 1700 * us, 3700 * us, 8700 * us, 18700 * us,
			38700 * us, 88700 * us, 188700 * us, 388700 * us}
		got := d.asked()
		if len(got) != len(want) {
			t.Fatalf("asked at %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("question %d at %v, want %v", i, got[i], want[i])
			}
		}
		time.Sleep(10 * time.Second)
		at := d.asked()
		if gap := at[len(at)-1] - at[len(at)-2]; gap != 250*time.Millisecond {
			t.Errorf("asked every %v at last", gap)
		}
		// A further write event starts the pauses again, but not below a 256th of ten
		// seconds.
		before := time.Since(d.epoch)
		d.touch(d.t, "/f")
		time.Sleep(45 * time.Millisecond)
		if at := d.asked(); len(at) == 0 || at[0]-before > 42*time.Millisecond {
			t.Errorf("asked at %v after an event at %v", at, before)
		}
		d.answer(settled, 9)
		time.Sleep(300 * time.Millisecond)
		c, ok := d.received()
		if !ok || c.Stat.Size != 9 || c.Via != "event" {
			t.Errorf("received %+v, %v", c, ok)
		}
		if !d.has("/f") {
			t.Error("forgotten before Done")
		}
		d.done("/f")
		if d.has("/f") {
			t.Error("not forgotten after Done")
		}
	})
}

func TestEventWhileTakenSettlesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Hour)
		d.answer(settled, 1)
		d.start(t)
		d.touch(d.t, "/f")
		if c, ok := d.received(); !ok || c.Stat.Size != 1 {
			t.Fatalf("received %+v, %v", c, ok)
		}
		d.answer(written, 2)
		d.touch(d.t, "/f")
		time.Sleep(time.Millisecond)
		d.done("/f")
		if !d.has("/f") {
			t.Error("Done of the old version forgot the new one")
		}
		d.answer(settled, 3)
		time.Sleep(time.Second)
		if c, ok := d.received(); !ok || c.Stat.Size != 3 {
			t.Errorf("received %+v, %v", c, ok)
		}
	})
}

func TestTouchedInTheQueueIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Hour)
		d.answer(settled, 1)
		d.start(t)
		d.touch(d.t, "/first") // it is offered to the receiver, which does not take it yet
		synctest.Wait()
		d.touch(d.t, "/f")
		synctest.Wait()
		d.answer(settled, 2)
		d.touch(d.t, "/f")
		synctest.Wait()
		if c, _ := d.received(); c.Path != "/first" {
			t.Fatalf("received %+v", c)
		}
		if c, ok := d.received(); !ok || c.Path != "/f" || c.Stat.Size != 2 {
			t.Errorf("received %+v, %v: not the version that is there", c, ok)
		}
	})
}

func TestLimitThenSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Minute)
		d.answer(written, 1)
		d.start(t)
		d.touch(d.t, "/f")
		time.Sleep(59 * time.Second)
		if c, ok := d.received(); ok {
			t.Fatalf("received %+v before the limit", c)
		}
		time.Sleep(time.Second)
		c, ok := d.received()
		if !ok || c.Via != "limit" {
			t.Fatalf("received %+v, %v", c, ok)
		}
		d.done("/f")
		time.Sleep(10 * time.Minute)
		if c, ok := d.received(); ok {
			t.Errorf("received %+v a second time", c)
		}
		d.answer(settled, 2)
		time.Sleep(time.Second)
		if c, ok := d.received(); !ok || c.Via != "event" || c.Stat.Size != 2 {
			t.Errorf("received %+v, %v", c, ok)
		}
	})
}

func TestQuietWhereTheSystemCannotTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Hour)
		d.answer(unsure, 1)
		d.start(t)
		d.touch(d.t, "/f")
		time.Sleep(900 * time.Millisecond)
		d.touch(d.t, "/f") // an event
		time.Sleep(900 * time.Millisecond)
		d.answer(unsure, 2) // a change without one
		time.Sleep(900 * time.Millisecond)
		if c, ok := d.received(); ok {
			t.Fatalf("received %+v too early", c)
		}
		time.Sleep(200 * time.Millisecond)
		if c, ok := d.received(); !ok || c.Stat.Size != 2 {
			t.Errorf("received %+v, %v", c, ok)
		}
		if n := len(d.asked()); n > 6 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestHandedBackSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Hour)
		d.answer(settled, 1)
		d.start(t)
		d.touch(d.t, "/f")
		n := 0
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); n++ {
			<-d.out
			d.again(d.t, "/f")
		}
		if n > 60 {
			t.Errorf("came out %d times in ten seconds", n)
		}
		d.done("/f")
	})
}

func TestTooManyAreRefused(t *testing.T) {
	d := newDesk(time.Hour)
	d.most = 2
	if !d.touch(d.t, "/a") || !d.touch(d.t, "/b") || d.touch(d.t, "/c") || !d.touch(d.t, "/a") {
		t.Error("the bound does not hold")
	}
}

// TestQuiet: with quiet a file that nobody writes any more is left alone, until it had no
// event for so long. One that never is comes out after SettleLimit.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Minute)
		d.t.Quiet = 5 * time.Second
		d.answer(settled, 1)
		d.start(t)
		for piece := range int64(10) { // an upload in pieces
			d.touch(d.t, "/t/a")
			d.answer(settled, piece)
			time.Sleep(4 * time.Second)
			if _, ok := d.received(); ok {
				t.Fatalf("half a file came out, after piece %d", piece)
			}
		}
		time.Sleep(time.Second + time.Millisecond)
		if c, ok := d.received(); !ok || c.Stat.Size != 9 || c.Via != "event" {
			t.Errorf("the whole file: %+v %t", c, ok)
		}
		d.done("/t/a")
		came := false
		for range 16 {
			d.touch(d.t, "/t/b")
			time.Sleep(4 * time.Second)
			c, ok := d.received()
			came = came || ok && c.Via == "limit"
		}
		if !came {
			t.Error("a file that is never quiet does not come out after the limit")
		}
	})
}

// While events say that a program has a file open, the system is not asked who writes it.
// It is asked at once when the file is closed.
func TestHeldOpenIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Hour)
		d.answer(settled, 1)
		d.start(t)
		for range 100 {
			d.hear(d.t, "/f", isOpen)
			time.Sleep(5 * time.Millisecond)
		}
		d.touch(d.t, "/f") // its rights were changed: it is still open
		time.Sleep(5 * time.Millisecond)
		if got := d.asked(); len(got) != 0 || d.held == 0 || d.held > 30 {
			t.Errorf("asked at %v, looked at %d times", got, d.held)
		}
		d.hear(d.t, "/f", isClosed)
		at := time.Since(d.epoch)
		if c, ok := d.received(); !ok || c.Via != "event" {
			t.Errorf("received %+v, %t", c, ok)
		}
		if got := d.asked(); len(got) != 1 || got[0] != at {
			t.Errorf("asked at %v, closed at %v", got, at)
		}
	})
}

// A file that stays open and quiet is asked for its writers, and comes out when there is
// none, whether or not its close is told.
func TestHeldOpenAndQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Hour)
		d.answer(written, 1)
		d.start(t)
		d.hear(d.t, "/f", isOpen)
		time.Sleep(2 * time.Second)
		got := d.asked()
		if len(got) < 8 || got[0] != firstGlance+untilClosed || d.held != 1 {
			t.Errorf("asked at %v, looked at %d times", got, d.held)
		}
		d.answer(settled, 1)
		time.Sleep(250 * time.Millisecond)
		if _, ok := d.received(); !ok {
			t.Error("it did not come out")
		}
	})
}

// Another program may have the file open when one closes it.
func TestClosedByOneOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(time.Hour)
		d.answer(written, 1)
		d.start(t)
		d.hear(d.t, "/f", isOpen)
		d.hear(d.t, "/f", isClosed)
		time.Sleep(time.Millisecond)
		if got := d.asked(); len(got) != 3 {
			t.Errorf("asked at %v", got)
		}
	})
}

// A file that is closed soon after it was made is asked about at once, also if another
// one came in between.
func TestClosedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const us = time.Microsecond
		d := newDesk(time.Hour)
		d.answer(settled, 1)
		d.start(t)
		d.hear(d.t, "/f", isOpen)
		synctest.Wait()
		time.Sleep(100 * us)
		d.touch(d.t, "/g")
		synctest.Wait()
		time.Sleep(100 * us)
		d.hear(d.t, "/f", isClosed)
		synctest.Wait()
		if got := d.asked(); len(got) != 2 || got[0] != 100*us || got[1] != 200*us {
			t.Errorf("asked at %v", got)
		}
	})
}
