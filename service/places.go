// SPDX-License-Identifier: Apache-2.0

package service

import (
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// place is where a key or a value begins. Lines and columns count from 1; columns are
// characters. The zero place is not in the file.
type place struct{ line, col int }

// spot holds the two places of one key.
type spot struct{ key, value place }

// places maps a key, written in full, to its spot in the file. Array tables and array
// values are counted from 1: the second [[watch]] is watch[2].
type places map[string]spot

// maxDepth is how deep values may be nested. A deeper value ends the scan.
const maxDepth = 64

// scanPlaces finds the place of each key of a TOML text. The decoder tells the places of
// bad syntax only; we need those of unknown keys, wrong shapes and refused values too.
// It expects a text that the decoder accepts. With any other text the places may be
// wrong, but it always ends.
func scanPlaces(text string) places {
	s := &placeScanner{text: text, found: places{}, tables: map[string]int{}}
	for i, c := range []byte(text) {
		if c == '\n' {
			s.lines = append(s.lines, i)
		}
	}
	prefix := ""
	for s.blank(true); s.i < len(s.text); s.blank(true) {
		begin := s.i
		if s.text[s.i] == '[' {
			prefix = s.header()
		} else {
			s.pair(prefix, 0)
		}
		if s.i == begin { // not TOML
			s.i++
		}
	}
	return s.found
}

type placeScanner struct {
	text   string
	i      int
	lines  []int // offsets of the newlines
	found  places
	tables map[string]int // how many [[NAME]] there were so far
}

// at returns the place of a byte offset.
func (s *placeScanner) at(offset int) place {
	n := sort.SearchInts(s.lines, offset)
	begin := 0
	if n > 0 {
		begin = s.lines[n-1] + 1
	}
	return place{n + 1, utf8.RuneCountInString(s.text[begin:offset]) + 1}
}

func (s *placeScanner) note(key string, k, v int) {
	if _, ok := s.found[key]; !ok {
		s.found[key] = spot{s.at(k), s.at(v)}
	}
}

// peek returns the next byte, or 0 at the end.
func (s *placeScanner) peek() byte {
	if s.i < len(s.text) {
		return s.text[s.i]
	}
	return 0
}

// blank passes over blanks. With lines it also passes over newlines and comments.
func (s *placeScanner) blank(lines bool) {
	for ; s.i < len(s.text); s.i++ {
		switch c := s.text[s.i]; {
		case c == ' ' || c == '\t' || c == '\r':
		case c == '\n' && lines:
		case c == '#' && lines:
			n := strings.IndexByte(s.text[s.i:], '\n')
			if n < 0 {
				s.i = len(s.text)
				return
			}
			s.i += n
		default:
			return
		}
	}
}

// header passes over [NAME] or [[NAME]] and returns the key of that table.
func (s *placeScanner) header() string {
	begin := s.i
	array := strings.HasPrefix(s.text[s.i:], "[[")
	s.i++
	if array {
		s.i++
	}
	parts := s.dotted()
	key := ""
	for n, part := range parts {
		key = join(key, part)
		last := n == len(parts)-1
		if last && array {
			s.tables[key]++
		}
		s.note(key, begin, begin)
		if count := s.tables[key]; count > 0 {
			key = element(key, count)
			s.note(key, begin, begin)
		}
	}
	for s.peek() == ']' {
		s.i++
	}
	return key
}

// pair passes over KEY = VALUE and notes its places. KEY is below prefix.
func (s *placeScanner) pair(prefix string, depth int) {
	begin := s.i
	parts := s.dotted()
	s.blank(false)
	if s.peek() != '=' {
		s.line()
		return
	}
	s.i++
	s.blank(false)
	key := prefix
	for n, part := range parts {
		key = join(key, part)
		if n < len(parts)-1 {
			s.note(key, begin, begin)
		}
	}
	s.note(key, begin, s.i)
	s.value(key, depth)
}

// line goes to the next newline.
func (s *placeScanner) line() {
	for s.i < len(s.text) && s.text[s.i] != '\n' {
		s.i++
	}
}

// dotted passes over a key such as a.b."c d" and returns its parts.
func (s *placeScanner) dotted() []string {
	var parts []string
	for {
		s.blank(false)
		begin := s.i
		switch s.peek() {
		case '"', '\'':
			s.quoted()
			parts = append(parts, unquoted(s.text[begin:s.i]))
		default:
			for s.i < len(s.text) && !strings.ContainsRune(" \t\r\n.=[]{},#\"'", rune(s.text[s.i])) {
				s.i++
			}
			parts = append(parts, s.text[begin:s.i])
		}
		s.blank(false)
		if s.peek() != '.' {
			return parts
		}
		s.i++
	}
}

func unquoted(quoted string) string {
	if strings.Contains(quoted, `\`) && strings.HasPrefix(quoted, `"`) {
		var k struct{ K string }
		if _, err := toml.Decode("K="+quoted, &k); err == nil {
			return k.K
		}
	}
	return strings.Trim(quoted, quoted[:1])
}

// value passes over the value of key, and notes the places of keys and elements in it.
func (s *placeScanner) value(key string, depth int) {
	switch s.peek() {
	case '"', '\'':
		s.quoted()
	case '[':
		s.inside(']', depth, func(n int) {
			k := element(key, n)
			s.note(k, s.i, s.i)
			s.value(k, depth+1)
		})
	case '{':
		s.inside('}', depth, func(int) { s.pair(key, depth+1) })
	default:
		for s.i < len(s.text) && !strings.ContainsRune(",]}#\r\n", rune(s.text[s.i])) {
			s.i++
		}
	}
}

// inside passes over a list in brackets that ends with end. It calls each at the begin
// of each element, with its number from 1.
func (s *placeScanner) inside(end byte, depth int, each func(n int)) {
	s.i++
	if depth >= maxDepth {
		s.i = len(s.text)
		return
	}
	for n := 1; ; n++ {
		s.blank(true)
		if s.i >= len(s.text) {
			return
		}
		if s.text[s.i] == end {
			s.i++
			return
		}
		begin := s.i
		each(n)
		s.blank(true)
		if s.peek() == ',' {
			s.i++
		}
		if s.i == begin { // not TOML
			s.i++
		}
	}
}

// quoted passes over one string of any of the four kinds.
func (s *placeScanner) quoted() {
	quote := s.text[s.i : s.i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s.text[s.i:], triple) {
		s.i += 3
		for s.i < len(s.text) && !strings.HasPrefix(s.text[s.i:], triple) {
			s.escape(quote)
			s.i++
		}
		// Up to two quotes may stand before the closing three.
		for s.i = min(s.i+3, len(s.text)); s.peek() == quote[0]; s.i++ {
		}
		return
	}
	s.i++
	for s.i < len(s.text) && s.text[s.i] != quote[0] && s.text[s.i] != '\n' {
		s.escape(quote)
		s.i++
	}
	s.i = min(s.i+1, len(s.text))
}

// escape steps onto the second byte of a backslash pair.
func (s *placeScanner) escape(quote string) {
	if quote == `"` && s.text[s.i] == '\\' && s.i+1 < len(s.text) {
		s.i++
	}
}

// join returns key.name. The name is quoted if it is not a bare key.
func join(key, name string) string {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		name = strconv.QuoteToASCII(name)
	}
	if key == "" {
		return name
	}
	return key + "." + name
}

// element returns key[n].
func element(key string, n int) string { return key + "[" + strconv.Itoa(n) + "]" }
