// SPDX-License-Identifier: Apache-2.0

// Package scan holds the words that every driver of a scanner shares: Scanner, File,
// Answer, Failure and Config. It also holds the canary and the discard scanner. Each
// other driver has a package of its own below this one, and scanners picks one by its
// type.
//
// It promises: a verdict is never made up. An Answer holds a Verdict only when the
// scanner gave it for this very file. Everything else is a Failure. Its Kind says
// whose fault it is, and so what to do next.
//
// Invariants, which each driver keeps:
//
//  1. Scan returns one Answer for each File that it pulled, in that order, with
//     either a Verdict or an Err.
//  2. Clean is said only of a file that the scanner looks into. A file larger than
//     Config.MaxSize is Unscanned. So is a file that the scanner reports to be
//     encrypted or beyond a limit.
//  3. A scanner that misbehaves costs bounded memory. It also costs bounded time: a
//     session ends after Config.Timeout without progress.
//  4. Making a Scanner connects to nothing, reads nothing and starts nothing. When
//     Scan and Ping return, nothing that they started is left.
//
// Goroutines: this package starts none and has no lock. Every method of a Scanner may
// be called from several goroutines at once.
package scan

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"os"
	"time"
)

// Verdict is what a scanner concluded of a file.
type Verdict string

// The verdicts. Unscanned means that the scanner answered but did not look
// inside; the Answer's Reason says why.
const (
	Clean      Verdict = "clean"
	Suspicious Verdict = "suspicious"
	Malicious  Verdict = "malicious"
	Submitted  Verdict = "submitted"
	Unscanned  Verdict = "unscanned"
)

// Reasons of an Unscanned answer.
const (
	ReasonTooBig      = "too_big"      // larger than Config.MaxSize
	ReasonStreamLimit = "stream_limit" // larger than the scanner takes in a stream
	ReasonLimit       = "limit"        // one of the scanner's own limits cut the scan short
	ReasonEncrypted   = "encrypted"    // the scanner has no key
	ReasonNotListed   = "not_listed"   // a hash list does not know it
	ReasonDiscarded   = "discarded"    // the discard scanner looks at nothing
)

// File is one open regular file to judge. The descriptor's offset is 0; SHA256
// is of the bytes the caller read just before. Only the first Size bytes are
// judged where the file is streamed.
type File struct {
	F      *os.File
	Size   int64 // bytes
	SHA256 [32]byte

	// body stands in for F's content where a canary must not touch the disk.
	body io.ReaderAt
}

// Reader returns the source that a driver reads the bytes of f from. It is F, but for
// a canary that must not touch the disk.
func (f File) Reader() io.ReaderAt {
	if f.body != nil {
		return f.body
	}
	return f.F
}

// Answer is what a scanner said of one File: either Verdict (with Signature and
// Reason) or Err, never both. Signature and Reason hold bytes as received: they
// come from an attacker.
type Answer struct {
	Verdict   Verdict
	Signature string
	Reason    string
	Err       *Failure

	// Key is what this very verdict was given by, in the words of Scanner.Key. It is
	// empty where that is not known, and then the verdict may not be remembered.
	Key string
}

// Scanner is a verdict engine. Its methods may be called from several
// goroutines at once.
type Scanner interface {
	// Ping asks if the scanner is ready and returns its version text, to be shown.
	// It is empty when the scanner does not tell. An error always has a *Failure
	// inside.
	Ping(ctx context.Context) (version string, err error)

	// Key names what the scanner judges by now: program, signatures, and whatever
	// else a verdict rests on. It is empty when that is not known. Verdicts that were
	// remembered under it are still the scanner's; what it says of the next one the
	// Answer's own Key tells, for the scanner may be another by then.
	Key(ctx context.Context) string

	// Scan judges files in one session: it pulls the next File as soon as it can
	// send it, ends the session when the sequence ends, and returns one Answer
	// for each File pulled, in that order. It stops pulling when the session
	// fails. The caller closes the descriptors after Scan returned; their
	// offsets may have moved. When ctx ends, answers not yet final are Void or
	// Down.
	Scan(ctx context.Context, files iter.Seq[File]) []Answer
}

// Config says which scanner to ask and how.
type Config struct {
	Type      string        // clamd, hashlist or discard
	Addresses []string      // clamd: "unix:/path" or "tcp:host:port"; sessions are spread over all that answer
	Timeout   time.Duration // the longest wait without progress; 0: five minutes
	MaxSize   int64         // bytes the scanner looks into; 0: no limit known
	Lists     []string      // hashlist: paths of list files
	Keyed     bool          // clamd: ask in each session what it judges by, for the Answers' Key
	Log       *slog.Logger  // nil: nothing is logged
}

const defaultTimeout = 5 * time.Minute

// Filled returns c with the defaults in place of a zero Timeout and a nil Log.
func (c Config) Filled() Config {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Beyond turns a clean answer into unscanned where the scanner does not look
// into files of this size.
func Beyond(a Answer, size, limit int64) Answer {
	if a.Verdict == Clean && limit > 0 && size > limit {
		return Answer{Verdict: Unscanned, Reason: ReasonTooBig}
	}
	return a
}
