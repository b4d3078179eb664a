// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"context"
	"iter"
)

// discard takes every file, reads none and looks into none: for dry runs.
type discard struct{}

func (discard) Ping(ctx context.Context) (string, error) {
	if ctx.Err() != nil {
		return "", &Failure{Kind: Down, Err: ended(ctx)}
	}
	return "discard", nil
}

// Key implements Scanner.
func (discard) Key(context.Context) string { return "" }

func (discard) Scan(ctx context.Context, files iter.Seq[File]) []Answer {
	var answers []Answer
	for range files {
		a := Answer{Verdict: Unscanned, Reason: ReasonDiscarded}
		if ctx.Err() != nil {
			a = Answer{Err: &Failure{Kind: Void, Err: ended(ctx)}}
		}
		answers = append(answers, a)
		if a.Err != nil {
			break
		}
	}
	return answers
}
