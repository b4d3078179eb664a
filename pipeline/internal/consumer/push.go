// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"container/list"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
)

// push is one line on its way to an outcome.
type push struct {
	line
	file  openFile // what is known of its file
	trial trial    // what its tries have come to
}

// line is a line as its intake hands it out. It never changes.
type line struct {
	sample sample.Sample
	at     sample.At
	mark   ledger.Mark   // no outcome from this line on is in the ledger before it
	place  *list.Element // among the lane's open lines
}

// trial is what the tries of one push have come to.
type trial struct {
	began time.Time // of the first try; zero: there was none
	tries int       // that failed and count
	alone bool      // it goes in a session of its own: after a void one, and from the first failed try on
	sick  bool      // the last try, alone, found the scanner sick
	proof proof     // what a failed try still needs to count
	short error     // the last try failed because the process or the machine is short of this
	busy  time.Time // since when another program holds the file; zero: none does
	due   time.Time // when the next try may begin
	pace  *backoff.ExponentialBackOff

	// why is the reason of the last failed try, nil before the first. It alone is read
	// by others than the push's owner.
	why atomic.Pointer[string]
}

func (t *trial) reason() string {
	if s := t.why.Load(); s != nil {
		return *s
	}
	return ""
}

func (t *trial) setReason(s string) { t.why.Store(&s) }

// proof is what shows that a failed try was the sample's own doing.
type proof struct {
	by    proofBy
	since uint64 // verdicts of the scanner, or samples read in the tree, when the try failed
}

// proofBy says what is asked for a proof.
type proofBy int

const (
	nothing    proofBy = iota // no failed try waits for its proof
	theSample                 // none is needed: the file itself is why, as one that ends before its size
	theTree                   // another sample of its tree was read since
	theScanner                // the scanner has judged another sample, or the canary, since
)

// outcome begins the outcome of p at a scanner.
func (p *push) outcome(scanner string) sample.Outcome {
	return sample.Outcome{ID: p.sample.ID, Scanner: scanner, Path: p.sample.Path, Size: p.sample.Size, At: p.at}
}
