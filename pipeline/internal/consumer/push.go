// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"container/list"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
)

// push is one line on its way to an outcome.
type push struct {
	line
	file  openFile
	trial trial
}

// line is a line as its intake hands it out. It does not change from then on, so any
// goroutine may read it.
type line struct {
	sample sample.Sample
	at     sample.At
	sum    journal.LineSum // of the line before it
	mark   ledger.Mark     // the outcomes of this line and of later ones lie behind it in the ledger
	place  *list.Element   // where the intake keeps it: in lane.open
}

// trial holds the results of the tries of one push.
type trial struct {
	began  time.Time // when the first try began; zero: there was none
	tries  int       // failed tries that count
	alone  bool      // it goes in a session of its own: after a void session, and after the first failed try
	sick   bool      // in the last try, alone, the scanner was sick
	proof  proof     // what the failed try still needs to count
	denied bool      // the scanner was not let at the file in the last try
	short  error     // the last try failed for want of descriptors or memory; nil: it did not
	busy   time.Time // since when another program holds the file; zero: none does
	due    time.Time // when the next try may begin
	pace   *backoff.ExponentialBackOff

	// why is the reason of the last failed try, nil before the first. Any goroutine may
	// read it.
	why atomic.Pointer[string]
}

func (t *trial) reason() string {
	if s := t.why.Load(); s != nil {
		return *s
	}
	return ""
}

func (t *trial) setReason(s string) { t.why.Store(&s) }

// proof is what must be shown before a failed try counts: that the sample caused it.
type proof struct {
	by    proofBy
	since uint64 // when the try failed: verdicts of the scanner, or samples read in the tree
}

// proofBy says what gives the proof.
type proofBy int

const (
	nothing    proofBy = iota // no failed try waits for its proof
	theSample                 // no more is needed: the file itself is the cause, as it ends before its size
	theTree                   // another sample of its tree must be read after the try
	theScanner                // the scanner must judge another sample, or the canary, after the try
)

// outcome returns an outcome of p from a scanner, in which the result is still empty.
func (p *push) outcome(scanner string) sample.Outcome {
	return sample.Outcome{ID: p.sample.ID, Scanner: scanner, Path: p.sample.Path, Size: p.sample.Size, At: p.at}
}
