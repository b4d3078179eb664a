// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"errors"
	"io"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
)

// TestATreeThatCannotBeReadMakesNoDeadLetters: a try in which the file could not be read
// counts only if another sample of the same tree was read since, or if the file itself is
// the cause.
func TestATreeThatCannotBeReadMakesNoDeadLetters(t *testing.T) {
	log, settings := slog.New(slog.DiscardHandler), config.Scanner{Name: "s", Tries: 2, BackoffFirst: time.Hour, BackoffMax: time.Hour}
	in := &scripted{}
	c := newTrials(Config{Scanner: settings, Metrics: NewMetrics(), Log: log, Source: Apart{}}, in, newHealth(settings, nil, &sights{}, log), newTurns(in, nil))
	tree, other := config.Tree{Path: "/tree"}, config.Tree{Path: "/other"}
	p := &push{line: line{sample: sample.Sample{Path: "/tree/a"}}, file: openFile{tree: tree}}
	c.wasRead(&push{file: openFile{tree: tree}})
	for range 10 {
		p.unread(syscall.EIO)
		if c.notRead(p); p.trial.proof.by != theTree {
			t.Fatalf("%+v", p.trial.proof)
		}
		c.wasRead(&push{file: openFile{tree: other}})
		if !c.count(t.Context(), p) || p.trial.tries != 0 || p.trial.proof.by != nothing {
			t.Fatalf("it counts although nothing of its tree was read: %+v", p.trial.proof)
		}
	}
	p.unread(syscall.EIO)
	c.notRead(p)
	c.wasRead(&push{file: openFile{tree: tree}})
	if !c.treeReads(p) {
		t.Error("it does not count although another sample of its tree was read")
	}
	if p.unread(io.ErrUnexpectedEOF); p.trial.proof.by != theSample {
		t.Error("a file that lies about its size needs no proof")
	}
	// Want of memory is logged once, uses up no try, and its end is noted.
	p.unread(noMemory)
	if c.notRead(p); p.trial.proof.by != nothing || c.short.Err() == nil {
		t.Errorf("no memory: %+v %v", p.trial.proof, c.short.Err())
	}
	if c.wasRead(p); c.short.Err() != nil {
		t.Errorf("%v", c.short.Err())
	}
	if store.Exhausted(io.ErrUnexpectedEOF) || store.Exhausted(syscall.EIO) || !store.Exhausted(errors.Join(io.EOF, noMemory)) {
		t.Error("what is taken for want of memory")
	}
}
