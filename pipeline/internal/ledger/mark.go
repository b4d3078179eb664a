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

// A Mark is a place in the ledger such that all outcomes before it are behind
// every cursor: read-back begins there. It names its segment by the first line,
// for sealed segments of the ledger have no number:
//
//	SHA256(first line)[:8] in hex : OFFSET
//
// The zero mark is the beginning.
type Mark struct {
	head   string
	offset int64
}

// headOf returns how a mark names a segment: empty while it has no whole line.
func headOf(d journal.Folder, name string) (string, error) {
	line, whole, err := journal.FirstLine(d, name)
	if err != nil || !whole {
		return "", err
	}
	return headOfLine(line), nil
}

func headOfLine(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:8])
}

// String is the text form.
func (m Mark) String() string { return fmt.Sprintf("%s:%d\n", m.head, m.offset) }

func LoadMark(d journal.Folder, name string) Mark {
	text, err := journal.LoadText(d, name)
	head, off, ok := strings.Cut(strings.TrimSpace(text), ":")
	n, err2 := strconv.ParseInt(off, 10, 64)
	if err != nil || err2 != nil || !ok || n < 0 {
		return Mark{}
	}
	return Mark{head, n}
}
