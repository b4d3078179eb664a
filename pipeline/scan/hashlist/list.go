// SPDX-License-Identifier: Apache-2.0

package hashlist

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// unnamed is the signature of a listed hash that has no name.
const unnamed = "hashlist"

const (
	maxLine   = 64 << 10   // bytes of one line of a list file
	maxList   = 2 << 30    // bytes of a list file
	maxListed = 10_000_000 // hashes in it; each takes about 100 bytes of memory
)

// list is the content of one list file.
type list struct {
	names  map[[sha256.Size]byte]string
	digest [sha256.Size]byte // SHA-256 of the file
}

// readList reads a list file. A line is a bare SHA-256 in hex, a line of sha256sum, or
// comma-separated values of which one is a SHA-256. A line that begins with "#" is a
// comment. The error names path and line.
func readList(path string) (*list, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open list: %w", err)
	}
	defer f.Close()
	l := &list{names: map[[sha256.Size]byte]string{}}
	hash := sha256.New()
	var row columns
	// The file may grow faster than we read it.
	bounded := &io.LimitedReader{R: f, N: maxList}
	lines := bufio.NewScanner(io.TeeReader(bounded, hash))
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	number := 0
	for lines.Scan() {
		number++
		text := lines.Bytes()
		if number == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		text = bytes.TrimSpace(text)
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		sum, name, ok, err := row.entry(string(text))
		if err != nil {
			return nil, fmt.Errorf("read list: %s:%d: %w", path, number, err)
		}
		if ok {
			l.names[sum] = strings.Clone(name) // not the whole line with it
		}
		if len(l.names) > maxListed {
			return nil, fmt.Errorf("read list: %s:%d: more than %d hashes: keep the newest", path, number, maxListed)
		}
	}
	if bounded.N <= 0 {
		return nil, fmt.Errorf("read list: %s:%d: it is longer than %d GiB: keep the newest hashes", path, number, maxList>>30)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read list: %s:%d: %w", path, number+1, err)
	}
	hash.Sum(l.digest[:0])
	return l, nil
}

// columns knows in which column of comma-separated lines the name stands.
type columns struct {
	seen bool // a line with commas was read
	name int  // column of the name; -1 if no header names it
}

var errNoHash = errors.New("no SHA-256 in hex on this line")

// other is a hash that is no SHA-256, alone or before a name; tagged is a line in BSD form.
var (
	other  = regexp.MustCompile(`^\\?([0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{128})(?:[\s,:;]|$)`)
	tagged = regexp.MustCompile(`^[A-Za-z0-9/-]+ ?\(.*\) ?= ?[0-9A-Fa-f]+$`)
)

// noHash says what a line holds in place of a SHA-256.
func noHash(text string) error {
	if tagged.MatchString(text) {
		return errors.New("this line is in BSD form, as of sha256sum --tag: write it without --tag, the SHA-256 first")
	}
	if m := other.FindStringSubmatch(text); m != nil {
		kind := map[int]string{32: "an MD5", 40: "a SHA-1", 128: "a SHA-512"}[len(m[1])]
		return fmt.Errorf("this line holds %s: a list needs SHA-256", kind)
	}
	return errNoHash
}

// entry reads one line into a hash and its name. ok is false for a header, which is
// only the first line with commas.
func (c *columns) entry(text string) (sum [sha256.Size]byte, name string, ok bool, err error) {
	if head, rest, _ := strings.Cut(strings.TrimPrefix(text, `\`), " "); !strings.Contains(head, ",") {
		if sum, ok = parseSum(head); !ok {
			return sum, "", false, noHash(text)
		}
		return sum, named(strings.TrimPrefix(strings.TrimSpace(rest), "*")), true, nil
	}
	read := csv.NewReader(strings.NewReader(text))
	read.TrimLeadingSpace = true
	fields, err := read.Read()
	if err != nil {
		return sum, "", false, fmt.Errorf("split columns: %w", err)
	}
	at := slices.IndexFunc(fields, func(s string) bool { _, ok := parseSum(strings.TrimSpace(s)); return ok })
	if at < 0 {
		if c.seen || other.MatchString(text) {
			return sum, "", false, noHash(text)
		}
		c.seen, c.name = true, nameColumn(fields)
		return sum, "", false, nil
	}
	if !c.seen {
		c.seen, c.name = true, -1
	}
	sum, _ = parseSum(strings.TrimSpace(fields[at]))
	column := c.name
	if column < 0 {
		// Without a header the name is in the column after the hash; if there is none, in
		// the one before.
		if column = at + 1; column == len(fields) {
			column = at - 1
		}
	}
	if column >= 0 && column < len(fields) && column != at {
		name = fields[column]
	}
	return sum, named(strings.TrimSpace(name)), true, nil
}

// nameColumn returns the column whose header is a word for a name, or -1.
func nameColumn(header []string) int {
	for _, word := range []string{"signature", "name", "malware", "family", "threat", "detection"} {
		for i, h := range header {
			if strings.EqualFold(strings.TrimSpace(h), word) {
				return i
			}
		}
	}
	return -1
}

func named(name string) string {
	if name == "" {
		return unnamed
	}
	return name
}

func parseSum(text string) (sum [sha256.Size]byte, ok bool) {
	if len(text) != hex.EncodedLen(len(sum)) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(text))
	return sum, err == nil
}
