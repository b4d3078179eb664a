// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"time"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// intake gives lines to workers, and takes the outcomes of their pushes. The only one
// today is lines, which reads the journal. The interface allows workers whose lines come
// from other hosts, and lines whose workers are on other hosts.
type intake interface {
	// Run reads lines until ctx ends.
	Run(ctx context.Context) error
	// fresh returns the channel of a lane's pushes that were not tried yet, in the lane's
	// order. Its buffer is bounded.
	fresh(lane string) <-chan *push
	// begun notes that a push of that channel has its turn, so that it waits no more. It is
	// called once for each.
	begun(p *push)
	// end takes the outcomes of pushes. It writes them down, so that they outlast the
	// process; it tries until it succeeds, and returns true. When they are durable, and only
	// then, it finishes their lines and what stands in ended.by. It returns false if ctx
	// ended first: then the lines are not finished, and are pushed again after the next
	// start.
	end(ctx context.Context, all []ended) bool
	// givesWay reports whether p ends as changed without a push, because a later line of
	// its path is open. So the queue holds one push for each path. After eight in a row, or
	// a minute, asFound is true instead: p is pushed, whatever version lies there.
	givesWay(p *push) (gives, asFound bool)
	// tried records a failed try that counts. It may fail: no promise needs the record.
	tried(t sample.Try)
	// oldest returns the push that holds the lane's cursor back, or nil if none does.
	oldest(lane string) *push

	memory
}

// memory remembers what canaries have shown, and takes verdicts back. The lines have one
// that outlasts a restart; a look at a scanner has forgetful.
type memory interface {
	// mark returns the place behind all outcomes that are recorded now.
	mark() ledger.Mark
	// saw notes that a canary was good at an address: what the address called clean before
	// m is confirmed. deep is of scan.Depth: into how large a file the address looks, in
	// bytes. If that is not noted durably, more is taken back than need be.
	saw(address string, canary scan.Canary, m ledger.Mark, deep int64)
	// retract makes each sample be pushed again that the address called clean since the
	// canary was good, if it ever was; of scan.Depth, since the address looked deeper than
	// deep. When it is on record that these are lost, it calls recorded, which waits until
	// all of them are in the ledger. It returns how many there are, when that is durable.
	retract(ctx context.Context, address string, canary scan.Canary, deep int64, recorded func() error) (int, error)
}

// forgetful is the memory of one who records no outcome.
type forgetful struct{}

func (forgetful) mark() ledger.Mark                           { return ledger.Mark{} }
func (forgetful) saw(string, scan.Canary, ledger.Mark, int64) {}

func (forgetful) retract(context.Context, string, scan.Canary, int64, func() error) (int, error) {
	return 0, nil
}

// ended is a push with its outcome.
type ended struct {
	push  *push
	out   sample.Outcome
	began time.Time // when its first try began; zero: there was none
	by    *said     // of the sight that let it be clean; nil: it is not
}

// over ends what the sights of pushes wait for: their outcomes are durable, or are given
// up.
func over(all []ended) {
	for _, e := range all {
		e.by.end()
	}
}

// Source is the producer of a consumer's samples. It is told what became of them. Its
// methods do not wait.
type Source interface {
	// Again sends a path back to settle, because its file has changed.
	Again(path string)
	// Stray reports a line that strayed: the index must forget it, so that a sweep journals
	// its file again if there is one.
	Stray(path string, at sample.At)
	// Strays returns how many lines strayed so far, and how many of them, the first ones,
	// the index has forgotten on disk. No cursor on disk may pass one that it has not.
	Strays() (told, forgotten uint64)
	// Here reports whether the producer is in this process. If it is not, the other methods
	// do nothing.
	Here() bool
}

// Apart is the Source of a consumer whose producer is another process. That process
// sees changes itself, and its next sweep forgets files that are gone.
type Apart struct{}

// Again implements Source.
func (Apart) Again(string) {}

// Stray implements Source.
func (Apart) Stray(string, sample.At) {}

// Strays implements Source: the sweeps of that process forget them.
func (Apart) Strays() (told, forgotten uint64) { return 0, 0 }

// Here implements Source.
func (Apart) Here() bool { return false }
