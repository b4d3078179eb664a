// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"context"
	"iter"
)

// Discard is the Scanner for dry runs. It takes every file, reads none, and answers
// Unscanned.
type Discard struct{}

// Ping implements Scanner.
func (Discard) Ping(ctx context.Context) (string, error) {
	if ctx.Err() != nil {
		return "", &Failure{Kind: Down, Err: Ended(ctx)}
	}
	return "discard", nil
}

// Key implements Scanner.
func (Discard) Key(context.Context) string { return "" }

// Scan implements Scanner.
func (Discard) Scan(ctx context.Context, files iter.Seq[File]) []Answer {
	var answers []Answer
	for range files {
		a := Answer{Verdict: Unscanned, Reason: ReasonDiscarded}
		if ctx.Err() != nil {
			a = Answer{Err: &Failure{Kind: Void, Err: Ended(ctx)}}
		}
		answers = append(answers, a)
		if a.Err != nil {
			break
		}
	}
	return answers
}
