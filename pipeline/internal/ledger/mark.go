// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/certpush/certpush/pipeline/journal"
)

// A Mark is a place in the ledger. All lines whose outcomes lie before it are behind
// every cursor, so ReadBack begins there. It names its segment by the first line,
// because sealed segments of the ledger have no number:
//
//	SHA256(first line)[:8] in hex : OFFSET
//
// The zero Mark is the beginning.
type Mark struct {
	head   string
	offset int64
}

// headOf returns the name that a mark gives to a segment, or "" while the segment has
// no whole line.
func headOf(d journal.Folder, name string) (string, error) {
	line, whole, err := journal.FirstLine(d, name)
	if err != nil || !whole {
		return "", err
	}
	return headOfLine(line), nil
}

// headOfLine returns the name of a segment with this first line (without its newline).
func headOfLine(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:8])
}

// String returns the text of the mark's file, with a newline.
func (m Mark) String() string { return fmt.Sprintf("%s:%d\n", m.head, m.offset) }

// LoadMark reads a mark's file. If it is missing or cannot be read, it returns the zero
// Mark: a start then reads the whole ledger.
func LoadMark(d journal.Folder, name string) Mark {
	m, _ := LoadMarks(d, name)
	return m
}

// LoadMarks is LoadMark that also returns the second mark of the file, up to which a
// scanner's outcomes were told. It is nil if the file does not have it, as that of an older
// version.
func LoadMarks(d journal.Folder, name string) (from Mark, told *Mark) {
	text, err := journal.LoadText(d, name)
	if err != nil {
		return Mark{}, nil
	}
	first, second, _ := strings.Cut(text, "\n")
	if m, ok := parseMark(second); ok {
		told = &m
	}
	return ParseMark(first), told
}

// SaveMarks replaces a mark's file; told may be nil.
func SaveMarks(d journal.Folder, name string, from Mark, told *Mark) error {
	text := from.String()
	if told != nil {
		text += told.String()
	}
	return journal.SaveText(d, name, text)
}

// ParseMark reads the text of String. If it cannot be read, it returns the zero Mark.
func ParseMark(text string) Mark {
	m, _ := parseMark(text)
	return m
}

func parseMark(text string) (Mark, bool) {
	head, off, ok := strings.Cut(strings.TrimSpace(text), ":")
	n, err := strconv.ParseInt(off, 10, 64)
	if err != nil || !ok || n < 0 {
		return Mark{}, false
	}
	return Mark{head, n}, true
}
