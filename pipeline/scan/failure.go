// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Kind is why there is no verdict, and so what to do about it.
type Kind int

// The kinds of failure.
const (
	Busy    Kind = iota + 1 // wait After, then again; uses up no try
	Down                    // refused, reset, timed out before it took the file, or hung up at the start: pause and ping; no try
	Sick                    // it answers, but with an error it would give for every file; like Down
	Refused                 // this file cannot be scanned: a try
	Unclear                 // the answer was not understood or could not be tied to its file: a try; Raw holds it
	Void                    // the session, which held other files too, did not count: try this file alone; not a try
	Unread                  // reading the file itself failed, or it shrank; the scanner was not told that it ended
)

// String names the kind in one lower-case word.
func (k Kind) String() string {
	switch k {
	case Busy:
		return "busy"
	case Down:
		return "down"
	case Sick:
		return "sick"
	case Refused:
		return "refused"
	case Unclear:
		return "unclear"
	case Void:
		return "void"
	case Unread:
		return "unread"
	}
	return "kind " + strconv.Itoa(int(k))
}

// MaxRaw is how many bytes of a reply a Failure keeps.
const MaxRaw = 256

// Failure is why there is no verdict.
type Failure struct {
	Kind  Kind
	After time.Duration // Busy: how long to wait
	Raw   string        // at most MaxRaw bytes of the reply, as received
	Err   error         // never nil in a Failure of a driver
}

// Error gives the kind, the cause and the reply, escaped to plain ASCII.
func (f *Failure) Error() string {
	text := f.Kind.String()
	if f.Err != nil {
		text += ": " + f.Err.Error()
	}
	if f.Raw != "" {
		text += ": " + strconv.QuoteToASCII(f.Raw)
	}
	return text
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Failed returns a Failure whose cause is built as by fmt.Errorf.
func Failed(k Kind, format string, a ...any) *Failure {
	return &Failure{Kind: k, Err: fmt.Errorf(format, a...)}
}

// About keeps the first MaxRaw bytes of a reply in f, and returns f.
func (f *Failure) About(raw []byte) *Failure {
	f.Raw = string(raw[:min(len(raw), MaxRaw)])
	return f
}

// Ended returns an error that wraps the cause for which ctx ended.
func Ended(ctx context.Context) error {
	return fmt.Errorf("end session: %w", context.Cause(ctx))
}
