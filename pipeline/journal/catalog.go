// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Segments that another program writes have no headers. They get their numbers here, in
// the order of their names, and keep them when that program renames them:
//
//	.segments, a line each:   NUMBER SP BASE SP FILEID SP SHA256(first line)[:16] \n
//
// A line that cannot be read is passed over. Its segment gets a new number and is read
// once more.
//
// Several readers may give numbers at once, in this process and in another: who writes the
// file holds foreignLock from before he reads it. A look gives none and writes nothing.
const (
	foreignFile = ".segments"
	foreignLock = ".segments.lock"
)

// foreign is one known segment of another program.
type foreign struct {
	number uint64
	base   string
	id     string // file id and hash of the first line
}

func loadForeign(d Folder) ([]foreign, error) {
	known, _, err := readForeign(d)
	return known, err
}

// UnreadableNumbers returns how many lines of the file .segments cannot be read. Their
// segments get new numbers.
func UnreadableNumbers(d Folder) (int, error) {
	_, bad, err := readForeign(d)
	return bad, err
}

func readForeign(d Folder) (known []foreign, bad int, err error) {
	text, err := LoadText(d, foreignFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read known segments: %w", err)
	}
	for line := range strings.Lines(text) {
		w := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		n, err := strconv.ParseUint(w[0], 10, 64)
		if len(w) != 3 || err != nil || n == 0 || n > maxSegment {
			bad++
			continue
		}
		known = append(known, foreign{n, w[1], w[2]})
	}
	return known, bad, nil
}

// saveForeign is for one who holds foreignLock.
func saveForeign(d Folder, known []foreign) error {
	var b strings.Builder
	for _, k := range known {
		fmt.Fprintf(&b, "%d %s %s\n", k.number, k.base, k.id)
	}
	return SaveText(d, foreignFile, b.String())
}

// Segment is one file of a lane.
type Segment struct {
	Number uint64 // 0: the segment is another program's, and no reader gave it a number yet
	Name   string
	Active bool
}

// Survey returns the segments of base that have a whole first line, in order. It gives
// no numbers and writes nothing.
func Survey(d Folder, base string) ([]Segment, error) {
	c, err := openCatalog(d, base)
	if err != nil {
		return nil, err
	}
	c.silent = true
	return c.list()
}

// catalog knows the segments of a lane by number.
type catalog struct {
	d      Folder
	base   string
	heads  map[string]uint64 // sealed name to number: sealed segments do not change
	known  []foreign
	packed map[string]head // of the compressed ones, by what their identity is without the first line

	silent bool // give no numbers
}

func openCatalog(d Folder, base string) (*catalog, error) {
	known, err := loadForeign(d)
	return &catalog{d: d, base: base, heads: map[string]uint64{}, known: known, packed: map[string]head{}}, err
}

// list returns the segments in order. It leaves out the active one while that has no
// whole first line, for then it holds nothing to read.
//
// If a cut came between the listing and the look into the active segment, the segment
// that was sealed just then would be missing, and a reader would pass over its lines.
// So it lists again until nothing was sealed meanwhile.
func (c *catalog) list() ([]Segment, error) {
	for {
		known, err := loadForeign(c.d) // another reader may have given numbers
		if err != nil {
			return nil, err
		}
		c.known = known
		names, err := Segments(c.d, c.base)
		if err != nil {
			return nil, err
		}
		turned, err := c.rotated()
		if err != nil {
			return nil, err
		}
		all, err := c.numbered(append(turned, names...))
		if errors.Is(err, errTurned) {
			continue
		}
		if err != nil {
			return nil, err
		}
		now, err := Segments(c.d, c.base)
		if err != nil {
			return nil, err
		}
		if len(turned) > 0 { // in the order of their numbers; those without one are last
			slices.SortStableFunc(all, func(a, b Segment) int { return cmp.Compare(a.Number-1, b.Number-1) })
		}
		if lastSealed(now) == lastSealed(names) {
			return all, nil
		}
	}
}

// errTurned says that a file was rotated once more since the listing. It may lie there
// under its next name, and no reader may pass over its lines.
var errTurned = errors.New("rotated since the listing")

// lastSealed returns the newest sealed one of names, which Segments returned; "" if
// there is none.
func lastSealed(names []string) string {
	if len(names) < 2 {
		return ""
	}
	return names[len(names)-2]
}

// sealed returns the name of a sealed segment, if list returned it before.
func (c *catalog) sealed(number uint64) (string, bool) {
	for name, n := range c.heads {
		if n == number && n > 0 {
			return name, true
		}
	}
	return "", false
}

// numbered returns the segments of these names with their numbers. If it gave a number
// for the first time, that is durable when it returns.
func (c *catalog) numbered(names []string) (all []Segment, err error) {
	all, learned, err := c.numbers(names)
	if err != nil {
		return nil, err
	}
	if learned {
		if all, err = c.giveNumbers(names); err != nil {
			return nil, err
		}
	}
	for _, s := range all {
		if IsSealed(c.base, s.Name) { // no other name stays that of its file
			c.heads[s.Name] = s.Number
		}
	}
	return all, nil
}

// giveNumbers is numbered where somebody needs a number. Another reader may have given
// some since we read the file.
func (c *catalog) giveNumbers(names []string) (all []Segment, err error) {
	lock, err := c.d.Lock(foreignLock)
	if err != nil {
		return nil, fmt.Errorf("save known segments: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if c.known, err = loadForeign(c.d); err != nil {
		return nil, err
	}
	all, learned, err := c.numbers(names)
	if err != nil || !learned {
		return all, err
	}
	// A crash before this: the segments may get other numbers. No cursor names them yet.
	if err := saveForeign(c.d, c.known); err != nil {
		return nil, fmt.Errorf("save known segments: %w", err)
	}
	return all, nil
}

// numbers returns the segments of these names with their numbers, and whether c gave one
// just now, which nobody else knows yet.
func (c *catalog) numbers(names []string) (all []Segment, learned bool, err error) {
	last := uint64(0)
	if learned, err = c.adoptPacked(names); err != nil {
		return nil, false, err
	}
	for _, name := range names {
		active := name == c.base
		n, ok := c.heads[name]
		if !ok {
			var fresh bool
			var err error
			n, fresh, err = c.number(name, last)
			if errors.Is(err, fs.ErrNotExist) && !active && !IsSealed(c.base, name) {
				return nil, false, errTurned
			}
			if errors.Is(err, fs.ErrNotExist) {
				continue // pruned or sealed since the listing
			}
			if err != nil {
				return nil, false, err
			}
			learned = learned || fresh
			if n == 0 && !c.silent {
				continue
			}
		}
		last = max(last, n)
		all = append(all, Segment{n, name, active})
	}
	return all, learned, nil
}

// number returns a segment's number. last is the number of the segment before it. The
// number is 0 if the segment has no whole first line, or if it needs a new number and c
// is silent. fresh reports that c gave it a new number just now.
func (c *catalog) number(name string, last uint64) (n uint64, fresh bool, err error) {
	h, err := c.headOf(name)
	if err != nil || !h.whole {
		return 0, false, err
	}
	id := h.id
	if c.adopt(name, id) {
		fresh = !c.silent
	}
	top := last
	for _, k := range c.known {
		if k.base == c.base && k.id == id {
			return k.number, fresh, nil
		}
		if k.base == c.base {
			top = max(top, k.number)
		}
	}
	// A segment whose own number is not above the one before it would never be read
	// under that number: somebody may have put a copy here. It counts as another
	// program's.
	if h.ours && h.h.Segment > last {
		return h.h.Segment, false, nil
	}
	if c.silent {
		return 0, false, nil
	}
	c.known = append(c.known, foreign{top + 1, c.base, id})
	return top + 1, true, nil
}

// identity names another program's segment by its file and its first line.
func identity(id string, first []byte) string {
	sum := sha256.Sum256(first)
	return id + "-" + hex.EncodeToString(sum[:8])
}
