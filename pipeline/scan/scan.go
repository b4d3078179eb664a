// SPDX-License-Identifier: Apache-2.0

// Package scan asks a scanner about open files. It promises that a verdict is
// never made up: an Answer holds one only when the scanner gave it, for this
// very file, in words its protocol's grammar knows. Everything else is a
// Failure, whose Kind says whose fault it is and so what to do next.
//
// Invariants:
//
//  1. Scan returns one Answer for each File it pulled, in that order, with
//     either a Verdict or an Err.
//  2. A reply counts only when its whole session was sound: one known reply for
//     each file, none early, none twice, none alien, nothing after, and an end
//     that we asked for. Otherwise no reply of that session counts.
//  3. A file that could not be read to its given Size is never ended as if it
//     were whole: the connection is torn down instead.
//  4. "Clean" is said only of a file the scanner looks into: one larger than
//     Config.MaxSize, or one the scanner reports to be beyond a limit or
//     encrypted, is Unscanned.
//  5. What a scanner sends is bounded: 64 KiB for a reply, one reply for each
//     question; time is bounded by Config.Timeout without progress.
//  6. New connects to nothing, reads nothing and starts nothing; when Scan and
//     Ping return, nothing they started is left.
package scan

import (
	"context"
	"errors"
	"fmt"
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

// reader returns where the bytes of f are read from.
func (f File) reader() io.ReaderAt {
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

// ErrType is in the error of New for an unknown Config.Type.
var ErrType = errors.New("unknown scanner type")

const defaultTimeout = 5 * time.Minute

// New returns the Scanner that c describes. It connects to nothing and reads no
// file. The error wraps ErrType for a type this package does not know; a bad or
// missing address is an error that says what to write instead.
func New(c Config) (Scanner, error) {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch c.Type {
	case "clamd":
		return newClamd(c)
	case "hashlist":
		return newHashlist(c), nil
	case "discard":
		return discard{}, nil
	}
	return nil, fmt.Errorf("make scanner: %w %q: known are clamd, hashlist, discard", ErrType, c.Type)
}

// Beyond turns a clean answer into unscanned where the scanner does not look
// into files of this size.
func Beyond(a Answer, size, limit int64) Answer {
	if a.Verdict == Clean && limit > 0 && size > limit {
		return Answer{Verdict: Unscanned, Reason: ReasonTooBig}
	}
	return a
}
