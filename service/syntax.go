// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// syntaxProblem returns a decoder's error as a Problem with its place and a next step.
func syntaxProblem(text string, err error) Problem {
	var bad toml.ParseError
	if !errors.As(err, &bad) {
		return Problem{1, 1, "", "not TOML: " + firstLine(err.Error()) + ": save it as UTF-8 text"}
	}
	p := Problem{Line: max(bad.Position.Line, 1), Col: 1, What: "not TOML: " + firstLine(bad.Message) + ": " + syntaxHint(bad.Message)}
	// The decoder's own column counts bytes, and is wrong at the begin of a line.
	lines := strings.SplitAfter(text, "\n")
	if hint := lineHint(lines[min(p.Line, len(lines))-1]); hint != "" {
		p.What = "not TOML: " + firstLine(bad.Message) + ": " + hint
	}
	begin := 0
	for _, line := range lines[:min(p.Line-1, len(lines))] {
		begin += len(line)
	}
	if at := min(bad.Position.Start, len(text)); at > begin && !strings.Contains(text[begin:at], "\n") {
		p.Col = utf8.RuneCountInString(text[begin:at]) + 1
	}
	return p
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func syntaxHint(message string) string {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(message, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("escape"):
		return "use 'single quotes', then a backslash stays a backslash"
	case has("UTF-16", "UTF-8", "NULL", "null byte"):
		return "save the file as UTF-8"
	case has("already", "duplicate"):
		return "take one of the two out"
	case has("strings cannot contain newlines", "unexpected EOF", "unterminated"):
		return "close the quote or bracket"
	case has("end table name"):
		return "write [table] alone on a line"
	case has("expected value", "expected a digit", "invalid", "bare"):
		return "put text, durations and sizes in quotes"
	case has("key"):
		return "write key = value, or [table] alone on a line"
	}
	return "correct the line"
}

// wide are full-width and curly signs that input methods write, with those of TOML.
const wide = "＝=＂\"＇'“\"”\"‘'’'［[］]｛{｝}，,．.＃#　 "

var bareWord = regexp.MustCompile(`=\s*(?i:true|false|yes|no|on|off)\s*(?:#.*)?$`)

// lineHint returns what is wrong with a line that cannot be read, if that can be seen from
// the line: a sign that only looks like that of TOML, or a truth in other letters.
func lineHint(line string) string {
	signs := []rune(wide)
	for i := 0; i < len(signs); i += 2 {
		if strings.ContainsRune(line, signs[i]) {
			return fmt.Sprintf("%q is a full-width or curly sign: write %q", signs[i], signs[i+1])
		}
	}
	if bareWord.MatchString(strings.TrimSpace(line)) {
		return "write true or false, in small letters and without quotes"
	}
	return ""
}
