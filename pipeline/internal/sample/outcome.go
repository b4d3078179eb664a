// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/certpush/certpush/pipeline/scan"
)

// The outcomes: how a push ended.
const (
	Done    = "done"    // judged
	Gone    = "gone"    // the file vanished
	Skipped = "skipped" // refused for a named reason
	Dead    = "dead"    // given up after all tries: a dead letter
)

// Outcome is how the push of one sample to one scanner ended.
//
// Its ledger line is one JSON object with the keys in this order. A key with an empty
// value is left out, except size, tries and ms:
//
//	key                 form
//	time                RFC 3339, UTC, nanoseconds: when it was recorded
//	id                  the sample's version, 16 hex digits; absent for a bare path
//	scanner             name
//	path or path_b64    as in the journal line
//	size                bytes, as read
//	sha256              64 hex digits; absent if the file was not read to its end, or
//	                    if the scanner may have seen other bytes than were hashed
//	outcome             done gone skipped dead
//	verdict             clean suspicious malicious submitted unscanned; only with done
//	signature           the scanner's name for what it found
//	reason              of unscanned, skipped and dead
//	version             of the scanner, as it told it with this verdict
//	address             of the scanner that was asked, if it has addresses
//	cached              true
//	tries               number
//	ms                  milliseconds from the beginning of the first try
//	at                  LANE:SEGMENT:OFFSET of the journal line; absent if there is none
//
// A journal line is finished by scanner and at, never by an id alone.
type Outcome struct {
	Time      time.Time
	ID        string // empty for a bare path
	Scanner   string
	Path      string // raw bytes, absolute
	Size      int64
	SHA256    string // hex; empty if the scanner may have seen other bytes
	Outcome   string // Done, Gone, Skipped or Dead
	Verdict   scan.Verdict
	Signature string
	Reason    string
	Version   string // of the scanner, as the answer's own session told it
	Address   string // of the scanner, where it has addresses
	Cached    bool
	Tries     int
	Took      time.Duration // from the beginning of the first try to the outcome
	At        At            // zero if there is no journal line
}

// appendLine appends the ledger line and its newline to b.
func (o Outcome) appendLine(b []byte) []byte { //nolint:unparam // AppendLine hands it a buffer
	b = append(b, `{"time":"`...)
	b = o.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
	b = append(b, '"')
	text := func(key, value string) {
		if value != "" {
			b = append(b, ',', '"')
			b = append(b, key...)
			b = append(b, '"', ':')
			b = AppendText(b, value)
		}
	}
	text("id", o.ID)
	text("scanner", o.Scanner)
	b = append(b, ',')
	b = appendPath(b, o.Path)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, o.Size, 10)
	text("sha256", o.SHA256)
	text("outcome", o.Outcome)
	text("verdict", string(o.Verdict))
	text("signature", o.Signature)
	text("reason", o.Reason)
	text("version", o.Version)
	text("address", o.Address)
	if o.Cached {
		b = append(b, `,"cached":true`...)
	}
	b = append(b, `,"tries":`...)
	b = strconv.AppendInt(b, int64(o.Tries), 10)
	b = append(b, `,"ms":`...)
	b = strconv.AppendFloat(b, float64(o.Took.Microseconds())/1000, 'f', 3, 64)
	if o.At != (At{}) {
		text("at", o.At.String())
	}
	return append(b, '}', '\n')
}

// MarshalJSON implements json.Marshaler. It returns the ledger line, which keeps a name
// of any bytes.
func (o Outcome) MarshalJSON() ([]byte, error) {
	b := o.appendLine(nil)
	return b[:len(b)-1], nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *Outcome) UnmarshalJSON(b []byte) (err error) {
	*o, err = ParseOutcome(b)
	return err
}

// outcomeLine is a ledger line as JSON reads it.
type outcomeLine struct {
	Time      time.Time    `json:"time"`
	ID        string       `json:"id"`
	Scanner   string       `json:"scanner"`
	Path      *string      `json:"path"`
	Raw       []byte       `json:"path_b64"`
	Size      int64        `json:"size"`
	SHA256    string       `json:"sha256"`
	Outcome   string       `json:"outcome"`
	Verdict   scan.Verdict `json:"verdict"`
	Signature string       `json:"signature"`
	Reason    string       `json:"reason"`
	Version   string       `json:"version"`
	Address   string       `json:"address"`
	Cached    bool         `json:"cached"`
	Tries     int          `json:"tries"`
	Millis    float64      `json:"ms"`
	At        string       `json:"at"`
}

var errOutcome = errors.New("not a ledger line")

// ParseOutcome reads a ledger line without its newline. It is an error if scanner, path
// or outcome is missing, or at is malformed.
func ParseOutcome(text []byte) (Outcome, error) {
	var l outcomeLine
	if err := json.Unmarshal(text, &l); err != nil {
		return Outcome{}, fmt.Errorf("parse ledger line: %w", err)
	}
	o := Outcome{
		Time: l.Time, ID: l.ID, Scanner: l.Scanner, Path: string(l.Raw), Size: l.Size, SHA256: l.SHA256,
		Outcome: l.Outcome, Verdict: l.Verdict, Signature: l.Signature, Reason: l.Reason,
		Version: l.Version, Address: l.Address, Cached: l.Cached, Tries: l.Tries, Took: time.Duration(l.Millis*1000) * time.Microsecond,
	}
	if l.Path != nil {
		o.Path = *l.Path
	}
	ok := true
	if l.At != "" {
		o.At, ok = ParseAt(l.At)
	}
	if !ok || o.Scanner == "" || o.Outcome == "" || (l.Path != nil) == (l.Raw != nil) {
		return Outcome{}, fmt.Errorf("parse ledger line: a key is missing or malformed: %w", errOutcome)
	}
	return o, nil
}

// Strayed reports whether an outcome says that the path led to no regular file at that
// moment. A folder that was moved away may be moved back with the same version in it.
func Strayed(o Outcome) bool {
	switch o.Outcome {
	case Gone:
		return true
	case Skipped:
		return o.Reason != ReasonChanged && o.Reason != ReasonTooLarge && o.Reason != ReasonOutside
	}
	return false
}

// maxSignature is how many bytes of a signature are kept: a scanner that is hostile or
// broken may tell more than anybody reads.
const maxSignature = 256

// Short returns a signature, cut and marked with ... if it is longer than 256 bytes.
func Short(signature string) string {
	if len(signature) <= maxSignature {
		return signature
	}
	cut := signature[:maxSignature-len("...")]
	for len(cut) > 0 && !utf8.ValidString(cut) && utf8.ValidString(signature) {
		cut = cut[:len(cut)-1] // not in the middle of a character
	}
	return cut + "..."
}
