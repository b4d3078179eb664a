// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Try is a failed try that counted against its sample.
//
// Its line in tries.log, beside the ledger, is one JSON object with the keys in this
// order:
//
//	key                 form
//	time                RFC 3339, UTC, nanoseconds: when it was counted
//	id                  the sample's version, 16 hex digits; absent for a bare path
//	scanner             name
//	path or path_b64    as in the journal line
//	try                 number, from 1
//	reason              a word and what happened
//	at                  LANE:SEGMENT:OFFSET of the journal line
//
// People read it. No promise rests on it, so pushing goes on if it cannot be written.
type Try struct {
	Time    time.Time
	ID      string // empty for a bare path
	Scanner string
	Path    string // raw bytes, absolute
	Try     int
	Reason  string
	At      At
}

// appendLine appends the try's line and its newline to b.
func (t Try) appendLine(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = t.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
	b = append(b, '"')
	if t.ID != "" {
		b = append(b, `,"id":`...)
		b = AppendText(b, t.ID)
	}
	b = append(b, `,"scanner":`...)
	b = AppendText(b, t.Scanner)
	b = append(b, ',')
	b = appendPath(b, t.Path)
	b = append(b, `,"try":`...)
	b = strconv.AppendInt(b, int64(t.Try), 10)
	b = append(b, `,"reason":`...)
	b = AppendText(b, t.Reason)
	b = append(b, `,"at":`...)
	b = AppendText(b, t.At.String())
	return append(b, '}', '\n')
}

// MarshalJSON implements json.Marshaler. It returns the line.
func (t Try) MarshalJSON() ([]byte, error) {
	b := t.appendLine(nil)
	return b[:len(b)-1], nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Try) UnmarshalJSON(text []byte) error {
	var l struct {
		Time    time.Time `json:"time"`
		ID      string    `json:"id"`
		Scanner string    `json:"scanner"`
		Path    *string   `json:"path"`
		Raw     []byte    `json:"path_b64"`
		Try     int       `json:"try"`
		Reason  string    `json:"reason"`
		At      string    `json:"at"`
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("parse try: %w", err)
	}
	*t = Try{Time: l.Time, ID: l.ID, Scanner: l.Scanner, Path: string(l.Raw), Try: l.Try, Reason: l.Reason}
	if l.Path != nil {
		t.Path = *l.Path
	}
	var ok bool
	if t.At, ok = ParseAt(l.At); !ok {
		return fmt.Errorf("parse try: %q is no place in a journal", l.At)
	}
	return nil
}
