// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// TestATreeThatCannotBeReadMakesNoDeadLetters: a try that failed on our side counts
// only when another sample of the same tree was read since, or by what the file is.
func TestATreeThatCannotBeReadMakesNoDeadLetters(t *testing.T) {
	c := &consumer{
		c: config.Scanner{Name: "s", Tries: 2, BackoffFirst: time.Hour, BackoffMax: time.Hour}, m: newMetrics(), log: slog.New(slog.DiscardHandler),
		reads: map[string]uint64{}, refused: map[string]error{}, woken: make(chan struct{}, 1),
	}
	tree, other := config.Tree{Path: "/tree"}, config.Tree{Path: "/other"}
	p := &push{sample: sample.Sample{Path: "/tree/a"}, tree: tree}
	c.wasRead(&push{tree: tree})
	for range 10 {
		p.fault(syscall.EIO)
		var out sample.Outcome
		if c.unread(t.Context(), p, &out) || !p.failed {
			t.Fatalf("%+v %+v", p, out)
		}
		c.wasRead(&push{tree: other})
		if !c.count(t.Context(), p) || p.tries != 0 || p.failed {
			t.Fatalf("it counts although nothing of its tree was read: %+v", p)
		}
	}
	p.fault(syscall.EIO)
	var out sample.Outcome
	c.unread(t.Context(), p, &out)
	c.wasRead(&push{tree: tree})
	if !c.treeReads(p) {
		t.Error("it does not count although another sample of its tree was read")
	}
	p.judged, p.own = c.reads[tree.Path], true
	if !c.treeReads(p) {
		t.Error("a file that lies about its size needs no proof")
	}
	// Short of what any file needs: said once, no try, and said when it is over.
	p.own = false
	p.fault(noMemory)
	if c.unread(t.Context(), p, &out) || p.failed || p.local || c.ready() == nil {
		t.Errorf("no memory: %+v", p)
	}
	if c.wasRead(p); c.ready() != nil {
		t.Errorf("%v", c.ready())
	}
	if store.Exhausted(io.ErrUnexpectedEOF) || store.Exhausted(syscall.EIO) || !store.Exhausted(errors.Join(errInside, noMemory)) {
		t.Error("what is taken for want of memory")
	}
}

// TestASampleThatHoldsACursorBackIsSaid, once, and when it is over.
func TestASampleThatHoldsACursorBackIsSaid(t *testing.T) {
	d := scantest.Start(t, scantest.Networks()[0])
	l := newLab(t, clamd(d.Addr(), func(s *config.Scanner) { s.Timeout, s.NoCanary = time.Minute, true }))
	l.start()
	l.swept()
	d.SetDelay(3 * time.Second)
	path := l.write("slow", "slow")
	l.until("it is in flight", func() bool { return l.p.Status().Scanners[0].InFlight == 1 })
	_, consumers, _ := l.p.halves()
	c := consumers[0]
	const warning, info = "one sample holds a cursor back", "that held a cursor back has its outcome"
	begun := time.Now()
	c.watchHeld(begun)
	c.watchHeld(begun.Add(heldFor - time.Minute))
	if strings.Contains(l.logged(), warning) {
		t.Error("said before its time")
	}
	for range 2 {
		c.watchHeld(begun.Add(heldFor + time.Minute))
	}
	if n := strings.Count(l.logged(), warning); n != 1 || !strings.Contains(l.logged(), path) || strings.Contains(l.logged(), info) {
		t.Errorf("said %d times", n)
	}
	l.until("a word that it is over", func() bool { return strings.Contains(l.logged(), info) })
}
