// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Kind says why there is no verdict, and so what to do next.
type Kind int

// The kinds of failure.
const (
	Busy    Kind = iota + 1 // the scanner asks for time: wait After, then push again; not a try
	Down                    // the scanner refused, reset, timed out or hung up before it took the file: pause and ping; not a try
	Sick                    // the scanner answers, but with an error that any file would get: like Down
	Refused                 // the scanner cannot scan this file: a try
	Unclear                 // the answer is not understood, or cannot be tied to its file: a try; Raw holds the answer
	Void                    // the session held other files too, and failed: push this file alone; not a try
	Unread                  // the file could not be read, or it shrank; the scanner never took the part for the whole
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

// Failure says why there is no verdict.
type Failure struct {
	Kind  Kind
	After time.Duration // Busy: how long to wait
	Raw   string        // at most MaxRaw bytes of the reply, as received
	Err   error         // never nil in a Failure of a driver
}

// Error returns the kind, the cause and the reply. The reply is escaped to plain ASCII.
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
