// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// finishedLine is the part of a ledger line that names the finished journal line.
type finishedLine struct {
	Scanner string `json:"scanner"`
	At      string `json:"at"`
}

// ParseFinished reads a whole ledger line, with its newline, and returns the journal
// line that it finishes at a scanner. When in doubt it returns ok=false.
func ParseFinished(text []byte) (scanner string, at At, ok bool) {
	name, place, ok := scanFinished(text)
	if !ok {
		var l finishedLine
		if json.Unmarshal(text, &l) != nil {
			return "", At{}, false
		}
		name, place = []byte(l.Scanner), []byte(l.At)
	}
	at, ok = ParseAt(string(place))
	return string(name), at, ok
}

// scanFinished is ParseFinished without JSON, because a start may have millions of
// lines to read. It knows the lines that appendLine writes, as long as no text in them
// is escaped. It must reject invalid JSON: a torn line glued to the next one must not
// mark a position as finished. So it looks at every byte. When in doubt it returns
// ok=false.
func scanFinished(text []byte) (scanner, at []byte, ok bool) {
	next := func(c byte) bool {
		if len(text) == 0 || text[0] != c {
			return false
		}
		text = text[1:]
		return true
	}
	for begun := false; ; begun = true {
		if !begun && !next('{') || begun && !next(',') {
			return scanner, at, begun && next('}') && (len(text) == 0 || string(text) == "\n")
		}
		if !next('"') {
			return nil, nil, false
		}
		key, _ := plainText(text)
		if text = text[len(key):]; !next('"') || !next(':') {
			return nil, nil, false
		}
		if !next('"') {
			n := plainWord(text)
			text = text[n:]
			switch string(key) {
			case "size", "cached", "tries", "ms", "again", "report":
				ok = n > 0
			default:
				ok = false
			}
			if !ok {
				return nil, nil, false
			}
			continue
		}
		value, ascii := plainText(text)
		if text = text[len(value):]; !next('"') {
			return nil, nil, false
		}
		switch string(key) {
		case "scanner":
			scanner, ok = value, ascii
		case "at":
			at, ok = value, ascii
		case "time", "id", "path", "path_b64", "size", "sha256", "outcome", "verdict", "signature", "reason", "version", "address", "host", "tree", "ref":
			ok = true
		default:
			ok = false // JSON takes a key that differs only in case for the same one
		}
		if !ok {
			return nil, nil, false
		}
	}
}

// plainText returns the text up to the first quote, backslash or control character.
// ascii reports whether all of it is ASCII.
func plainText(text []byte) (value []byte, ascii bool) {
	ascii = true
	for i, c := range text {
		if c < 0x20 || c == '"' || c == '\\' {
			return text[:i], ascii
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return text, ascii
}

// plainWord returns the length of the number, or of `true`, with which text begins. It
// returns 0 if text begins with neither, or with a number that JSON may refuse.
func plainWord(text []byte) int {
	if bytes.HasPrefix(text, []byte("true")) {
		return 4
	}
	digits := func(i int) int {
		for i < len(text) && text[i]-'0' <= 9 {
			i++
		}
		return i
	}
	n := digits(0)
	if n == 0 || n > 1 && text[0] == '0' {
		return 0
	}
	if n < len(text) && text[n] == '.' {
		if m := digits(n + 1); m > n+1 {
			return m
		}
		return 0
	}
	return n
}

// IDIn returns the id in a ledger line of ours, or "" if it has none. It does not parse
// the line.
func IDIn(text []byte) string {
	_, rest, ok := bytes.Cut(text[:min(len(text), 128)], []byte(`,"id":"`))
	if !ok || len(rest) < 16 {
		return ""
	}
	return string(rest[:16])
}
