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
//     Scan and Ping return, nothing that they started is left, but for the connections
//     of a Keeping one.
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

// Verdict is the conclusion of a scanner about a file.
type Verdict string

// The verdicts. Submitted means that the scanner will judge later. Unscanned means that
// it answered but did not look inside; the Answer's Reason says why.
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
	ReasonEncrypted   = "encrypted"    // the scanner has no key for it
	ReasonNotListed   = "not_listed"   // no hash list names it
	ReasonDiscarded   = "discarded"    // the discard scanner looks at nothing

	// What the sight of the address does not cover: see Sight.Bound.
	ReasonNoSight  = "no_sight"         // no canary is asked, so nothing is known of what the scanner sees
	ReasonArchives = "archives_unseen"  // it does not look into archives
	ReasonUntold   = "encrypted_untold" // it does not tell what is encrypted from what is clean
)

// File is one open regular file to judge. If a driver sends its bytes, only the first
// Size of them are judged.
type File struct {
	F      *os.File // its offset is 0
	Size   int64    // bytes
	SHA256 [32]byte // of the bytes that the caller read just before
	Sealed bool     // the bytes cannot change any more: SHA256 is of the very bytes that a driver reads

	// body holds the content in place of F, for bytes that are on no disk.
	body io.ReaderAt
}

// Reader returns the source from which a driver reads the bytes of f.
func (f File) Reader() io.ReaderAt {
	if f.body != nil {
		return f.body
	}
	return f.F
}

// InMemory reports whether the bytes of f are in the memory of the process. F is the file
// that they were read from then, and a driver must not hand it over in their place.
func (f File) InMemory() bool { return f.body != nil }

// Answer is the scanner's answer about one File. It holds either a Verdict (with
// Signature and Reason) or Err, never both. An attacker may choose the bytes of
// Signature and Reason: they are as the scanner sent them.
type Answer struct {
	Verdict   Verdict
	Signature string
	Reason    string
	Err       *Failure

	// Key names the program and signatures that gave this very verdict, as Scanner.Key
	// does. If it is empty they are not known, and nobody may remember the verdict.
	Key string

	// Address is the address that was asked, as Addressed names it; also where there is no
	// verdict. It is empty if the scanner has none, or if none could be reached.
	Address string
	// Version is the version that the address told in the session of this very verdict, for
	// people. It is empty if it told none.
	Version string
	// SHA256 is of the bytes that the driver itself sent. It is zero if the driver did not
	// read the file: it passed a descriptor, or looked the file's own SHA256 up.
	SHA256 [32]byte
}

// Scanner judges files. Several goroutines may call its methods at once.
type Scanner interface {
	// Ping asks whether the scanner is ready. It returns a version to show to people,
	// or "" if the scanner does not tell one. Each error wraps a *Failure.
	Ping(ctx context.Context) (version string, err error)

	// Key names everything that the scanner judges by now: its program and its
	// signatures. It returns "" if that is not known. A verdict that was remembered
	// under this key still holds. The key may change before the next file is judged, so
	// each Answer has its own.
	Key(ctx context.Context) string

	// Scan judges files in one session. It pulls the next File as soon as it can send
	// it, and ends the session when the sequence ends or the session fails. It returns
	// one Answer for each File that it pulled, in that order. The caller closes the
	// files after Scan returned; their offsets may have moved. When ctx ends, the files
	// that have no verdict yet are Void or Down.
	Scan(ctx context.Context, files iter.Seq[File]) []Answer
}

// Addressed is a Scanner that can be reached at several addresses, each of them a
// program of its own. What one of them sees says nothing about the others.
type Addressed interface {
	Scanner

	// Addresses names the addresses, as Answer.Address does.
	Addresses() []string

	// At returns a Scanner that asks only these addresses, by the same ways. It shares
	// what is known of the addresses with the Scanner that it came from.
	At(addresses []string) Scanner
}

// Passing is a Scanner that may be handed open files in place of their bytes.
type Passing interface {
	Scanner

	// Passes reports whether it is handed open files, at one of its addresses at least.
	Passes() bool
}

// HandsOver reports whether s is handed open files: it is Passing, and says so.
func HandsOver(s Scanner) bool {
	p, is := s.(Passing)
	return is && p.Passes()
}

// Keeping is a Scanner that keeps connections between two calls of Scan, with what reads
// them, until they were idle for some seconds.
type Keeping interface {
	Scanner

	// Rest ends the connections that are kept now. It returns when what reads them has ended.
	Rest()
}

// Bounded is a Scanner that may tell how many samples it takes at a time.
type Bounded interface {
	Scanner

	// Most returns how many samples may be unanswered at a time; 0: that is not known. It
	// reads configurations of this host.
	Most() int
}

// Config says which scanner to ask and how.
type Config struct {
	Type      string        // clamd, hashlist or discard
	Addresses []string      // clamd: "unix:/path" or "tcp:host:port"; sessions are spread over all that answer
	Timeout   time.Duration // the longest wait without progress; 0: five minutes
	MaxSize   int64         // bytes; the scanner does not look into a larger file; 0: no limit is known
	Lists     []string      // hashlist: paths of list files
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

// Beyond returns a, but Unscanned in place of Clean if size is over limit. Both are
// bytes; limit 0 means that there is none.
func Beyond(a Answer, size, limit int64) Answer {
	if a.Verdict == Clean && limit > 0 && size > limit {
		a.Verdict, a.Reason = Unscanned, ReasonTooBig
	}
	return a
}
