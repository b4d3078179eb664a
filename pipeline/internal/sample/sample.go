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
// Its line is one JSON object, keys in this order:
//
//	key        form                          present
//	id         16 hex digits                 always; first 8 bytes of SHA-256 over path 0 size 0 mtime
//	seen       RFC 3339, UTC, nanoseconds    always
//	via        event sweep limit manual      always
//	path       text                          if the path is valid UTF-8
//	path_b64   base64 of the raw bytes       otherwise
//	size       bytes                         always
//	mtime      SECONDS.NNNNNNNNN             always
//	for        the one scanner meant         only on manual lines, may be absent there
//
// The id is computed again by the reader: it is the line's checksum too. A line
// that begins with / or a drive letter is a bare path: it has no version and is
// pushed as found.
type Sample struct {
	ID    string // empty for a bare path
	Seen  time.Time
	Via   string
	Path  string // raw bytes
	Size  int64
	Mtime watch.Time
	For   string
}

// The ways in which a sample was noticed.
const (
	ViaEvent  = "event"
	ViaSweep  = "sweep"
	ViaLimit  = "limit"
	ViaManual = "manual"
)

// OfFile returns the sample that a file of this size and mtime is, not yet noticed
// in any way.
func OfFile(path string, size int64, mtime watch.Time) Sample {
	return Sample{ID: version(path, size, mtime), Path: path, Size: size, Mtime: mtime}
}

// Bare reports whether the sample came as a bare path, without a version.
func (s Sample) Bare() bool { return s.ID == "" }

// OfAll reports whether the line stands for its file in the index: it names a
// version, and every scanner has an outcome for it.
func OfAll(s Sample) bool { return !s.Bare() && s.For == "" }

// Passes reports whether the line is meant for another scanner than this one.
func Passes(s Sample, scanner string) bool { return s.For != "" && s.For != scanner }

// MarshalJSON implements json.Marshaler: the journal line. A bare path has empty
// id, seen and mtime.
func (s Sample) MarshalJSON() ([]byte, error) {
	b := s.appendLine(nil)
	return b[:len(b)-1], nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Sample) UnmarshalJSON(text []byte) (err error) {
	*s, err = parseSample(text)
	return err
}

// version returns the id of this path in this version.
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

// appendTime writes SECONDS.NNNNNNNNN. The fraction counts up from the second,
// before 1970 too.
func appendTime(b []byte, t watch.Time) []byte {
	b = strconv.AppendInt(b, t.Sec, 10)
	b = append(b, '.')
	n := strconv.AppendInt(make([]byte, 0, 12), int64(t.Nsec), 10)
	for range 9 - len(n) {
		b = append(b, '0')
	}
	return append(b, n...)
}

func parseTime(s string) (watch.Time, bool) {
	sec, frac, ok := strings.Cut(s, ".")
	if !ok || len(frac) != 9 {
		return watch.Time{}, false
	}
	a, err := strconv.ParseInt(sec, 10, 64)
	n, err2 := strconv.ParseUint(frac, 10, 30)
	return watch.Time{Sec: a, Nsec: int32(n)}, err == nil && err2 == nil
}

// AppendLine appends the sample's line with its newline to b.
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

// appendPath writes "path":… or, for what is not UTF-8, "path_b64":….
func appendPath(b []byte, path string) []byte {
	if utf8.ValidString(path) {
		b = append(b, `"path":`...)
		return AppendText(b, path)
	}
	b = append(b, `"path_b64":"`...)
	b = base64.StdEncoding.AppendEncode(b, []byte(path))
	return append(b, '"')
}

// AppendText writes s as a JSON string in which everything that could steer a
// terminal or hide in a page is escaped: controls, bidirectional and other
// format characters, line separators. JSON reads it back to the same bytes.
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

// plain reports whether a rune beyond ASCII may stand as it is.
func plain(r rune) bool { return strconv.IsPrint(r) }

// line is the wire form for reading.
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

// ParseLine reads a line without its newline.
func ParseLine(text []byte) (Sample, error) {
	if path, ok := barePath(text); ok {
		return Sample{Path: path, Via: ViaManual}, nil
	}
	s, err := parseSample(text)
	if err == nil && version(s.Path, s.Size, s.Mtime) != s.ID {
		return Sample{}, fmt.Errorf("parse line: the id does not fit path, size and mtime: %w", errLine)
	}
	return s, err
}

// parseSample reads a line's JSON, and believes its id.
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

// barePath reads a line as the old producer and any shell script write it.
func barePath(text []byte) (string, bool) {
	text = bytes.TrimSuffix(text, []byte{'\r'})
	if len(text) == 0 || bytes.IndexByte(text, 0) >= 0 {
		return "", false
	}
	drive := len(text) > 2 && text[1] == ':' && (text[2] == '\\' || text[2] == '/') && (text[0]|0x20 >= 'a' && text[0]|0x20 <= 'z')
	return string(text), text[0] == '/' || drive
}
