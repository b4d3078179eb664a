// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

// intake hands lines to workers and takes back how their pushes ended. Today's is
// lines, which reads the journal. The seam is for a second pair: workers whose lines
// come from other hosts, and lines whose workers are on other hosts.
type intake interface {
	// Run takes lines in until ctx ends.
	Run(ctx context.Context) error
	// fresh gives the pushes of a lane that were not tried yet, in the lane's order. It
	// holds a bounded number of them.
	fresh(lane string) <-chan *push
	// end records how pushes ended. When it returns true the outcomes are recorded and
	// told, and only then are their lines finished. It tries until it succeeds; false
	// means that ctx ended first: then the lines are pushed again some day.
	end(ctx context.Context, all []ended) bool
	// tried puts a failed try that counts on record. No promise rests on it.
	tried(t sample.Try)
	// oldest returns the push that holds the lane's cursor back, nil when none does.
	oldest(lane string) *push
}

// ended is a push with its outcome.
type ended struct {
	push *push
	out  sample.Outcome
}

// Source is where the samples of a consumer come from: the producer, which hears what
// became of them.
type Source interface {
	// Again hands a path back to settle: its file is another version by now.
	Again(path string)
	// Stray tells of a line whose path led to no file. It does not wait.
	Stray(path string, at sample.At)
	// Behind reports whether a line strayed and a crash now would let that be forgotten.
	// Meanwhile no cursor on disk may pass it.
	Behind() bool
	// Here reports whether the producer is in this process, and so hears of all that.
	Here() bool
}

// Apart is the Source of a consumer whose producer is another process. That process
// sees a change itself, and its next sweep forgets what is gone.
type Apart struct{}

// Again implements Source.
func (Apart) Again(string) {}

// Stray implements Source.
func (Apart) Stray(string, sample.At) {}

// Behind implements Source.
func (Apart) Behind() bool { return false }

// Here implements Source.
func (Apart) Here() bool { return false }
