// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/certpush/certpush/pipeline/watch"
)

// Sample is one version of one dropped file.
//
// Its line is one JSON object with the keys in this order:
//
//	key        form                          present
//	id         16 hex digits                 always; first 8 bytes of SHA-256 over path 0 size 0 mtime
//	seen       RFC 3339, UTC, nanoseconds    always
//	via        event sweep limit manual      always
//	path       text                          if the path is valid UTF-8
//	path_b64   base64 of the raw bytes       otherwise
//	size       bytes                         always
//	mtime      SECONDS.NNNNNNNNN             always
//	for        the name of one scanner       only on a manual line that is for this scanner alone
//
// The reader computes the id again, so it is also the checksum of the line. A line that
// begins with / or a drive letter is a bare path. It has no version, and the file is
// pushed as it lies there.
type Sample struct {
	ID    string // empty for a bare path
	Seen  time.Time
	Via   string
	Path  string // raw bytes
	Size  int64  // bytes
	Mtime watch.Time
	For   string // the only scanner that the line is for; empty: all
}

// The ways in which a sample was noticed.
const (
	ViaEvent  = "event"
	ViaSweep  = "sweep"
	ViaLimit  = "limit"
	ViaManual = "manual"
)

// OfFile returns the sample of a file with this size and mtime. The caller sets Seen
// and Via.
func OfFile(path string, size int64, mtime watch.Time) Sample {
	return Sample{ID: version(path, size, mtime), Path: path, Size: size, Mtime: mtime}
}

// Bare reports whether the sample came as a bare path. Then it has no version.
func (s Sample) Bare() bool { return s.ID == "" }

// OfAll reports whether the index may note the file of this line: the line names a
// version, and is for all scanners.
func OfAll(s Sample) bool { return !s.Bare() && s.For == "" }

// Passes reports whether the line is for another scanner than this one.
func Passes(s Sample, scanner string) bool { return s.For != "" && s.For != scanner }

// MarshalJSON implements json.Marshaler. It returns the journal line. For a bare path
// id is empty, and seen and mtime are zero.
func (s Sample) MarshalJSON() ([]byte, error) {
	b := s.appendLine(nil)
	return b[:len(b)-1], nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Sample) UnmarshalJSON(text []byte) (err error) {
	*s, err = parseSample(text)
	return err
}

// version returns the id of a path with this size and mtime.
func version(path string, size int64, mtime watch.Time) string {
	b := make([]byte, 0, len(path)+48)
	b = append(b, path...)
	b = append(b, 0)
	b = strconv.AppendInt(b, size, 10)
	b = append(b, 0)
	b = appendTime(b, mtime)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// appendTime appends SECONDS.NNNNNNNNN. The nanoseconds count forward from the second,
// also before 1970.
func appendTime(b []byte, t watch.Time) []byte {
	b = strconv.AppendInt(b, t.Sec, 10)
	b = append(b, '.')
	n := strconv.AppendInt(make([]byte, 0, 12), int64(t.Nsec), 10)
	for range 9 - len(n) {
		b = append(b, '0')
	}
	return append(b, n...)
}

// parseTime reads the text of appendTime.
func parseTime(s string) (watch.Time, bool) {
	sec, frac, ok := strings.Cut(s, ".")
	if !ok || len(frac) != 9 {
		return watch.Time{}, false
	}
	a, err := strconv.ParseInt(sec, 10, 64)
	n, err2 := strconv.ParseUint(frac, 10, 30)
	return watch.Time{Sec: a, Nsec: int32(n)}, err == nil && err2 == nil
}

// appendLine appends the journal line and its newline to b.
func (s Sample) appendLine(b []byte) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, s.ID...)
	b = append(b, `","seen":"`...)
	b = s.Seen.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
	b = append(b, `","via":"`...)
	b = append(b, s.Via...)
	b = append(b, `",`...)
	b = appendPath(b, s.Path)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, s.Size, 10)
	b = append(b, `,"mtime":"`...)
	b = appendTime(b, s.Mtime)
	b = append(b, '"')
	if s.For != "" {
		b = append(b, `,"for":`...)
		b = AppendText(b, s.For)
	}
	return append(b, '}', '\n')
}

// appendPath appends "path":… or, if the path is not UTF-8, "path_b64":….
func appendPath(b []byte, path string) []byte {
	if utf8.ValidString(path) {
		b = append(b, `"path":`...)
		return AppendText(b, path)
	}
	b = append(b, `"path_b64":"`...)
	b = base64.StdEncoding.AppendEncode(b, []byte(path))
	return append(b, '"')
}

// AppendText appends s as a JSON string. It escapes all characters that could control a
// terminal or hide in a page: controls, bidirectional and other format characters, line
// separators. JSON reads it back to the same text; but a byte that is not UTF-8 becomes
// U+FFFD.
func AppendText(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < 0x20 || c == 0x7f:
				b = fmt.Appendf(b, `\u%04x`, c)
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, `\ufffd`...)
		case plain(r):
			b = append(b, s[i:i+n]...)
		case r > 0xffff:
			r -= 0x10000
			b = fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
		i += n
	}
	return append(b, '"')
}

// plain reports whether a rune beyond ASCII may stand unescaped.
func plain(r rune) bool { return strconv.IsPrint(r) }

// line is a journal line as JSON reads it.
type line struct {
	ID    string     `json:"id"`
	Seen  *time.Time `json:"seen"`
	Via   string     `json:"via"`
	Path  *string    `json:"path"`
	Raw   []byte     `json:"path_b64"`
	Size  int64      `json:"size"`
	Mtime string     `json:"mtime"`
	For   string     `json:"for"`
}

var errLine = errors.New("not a journal line")

// ParseLine reads a line without its newline. An id that does not fit path, size and
// mtime is an error.
func ParseLine(text []byte) (Sample, error) {
	text = bytes.TrimPrefix(text, []byte(mark))
	if path, ok := barePath(text); ok {
		return Sample{Path: path, Via: ViaManual}, nil
	}
	s, err := parseSample(text)
	if err == nil && version(s.Path, s.Size, s.Mtime) != s.ID {
		return Sample{}, fmt.Errorf("parse line: the id does not fit path, size and mtime: %w", errLine)
	}
	return s, err
}

// parseSample reads a line's JSON. It does not check the id.
func parseSample(text []byte) (Sample, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return Sample{}, fmt.Errorf("parse line: %w", err)
	}
	s := Sample{ID: l.ID, Via: l.Via, Size: l.Size, For: l.For, Path: string(l.Raw)}
	if l.Path != nil {
		s.Path = *l.Path
	}
	var ok bool
	s.Mtime, ok = parseTime(l.Mtime)
	if !ok || l.Seen == nil || s.Path == "" || (l.Path != nil) == (l.Raw != nil) {
		return Sample{}, fmt.Errorf("parse line: a key is missing or malformed: %w", errLine)
	}
	s.Seen = *l.Seen
	return s, nil
}

// mark is the byte order mark, with which some programs begin a file.
const mark = "\ufeff"

// barePath reads a bare path, as the old producer and any shell script write it. It
// drops a carriage return at the end. The bool is false if the line is not a bare path.
func barePath(text []byte) (string, bool) {
	text = bytes.TrimSuffix(bytes.TrimPrefix(text, []byte(mark)), []byte{'\r'})
	if len(text) == 0 || bytes.IndexByte(text, 0) >= 0 {
		return "", false
	}
	drive := len(text) > 2 && text[1] == ':' && (text[2] == '\\' || text[2] == '/') && (text[0]|0x20 >= 'a' && text[0]|0x20 <= 'z')
	return string(text), text[0] == '/' || drive
}
