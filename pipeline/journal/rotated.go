// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// IsRotated reports whether name is that of a segment of base which another program, such
// as logrotate, rotated without compressing it: BASE.1, BASE-20261122.
func IsRotated(base, name string) bool {
	rest, is := strings.CutPrefix(name, base)
	if !is || len(rest) < 2 || rest[0] != '.' && rest[0] != '-' || IsSealed(base, name) || IsKeys(base, name) {
		return false
	}
	for _, end := range []string{".log", ".new", ".gz", ".xz", ".zst", ".bz2", ".lz4", ".Z"} {
		if strings.HasSuffix(rest, end) {
			return false
		}
	}
	return strings.ContainsAny(rest, "0123456789")
}

// rotated returns the names of the segments that another program rotated and that are to
// be read, oldest first: those that were begun before they were rotated, and what was
// rotated after the oldest of those. What had been rotated before we came is not.
func (c *catalog) rotated() ([]string, error) {
	if !slices.ContainsFunc(c.known, func(k foreign) bool { return k.base == c.base }) {
		return nil, nil
	}
	entries, err := c.d.List()
	if err != nil {
		return nil, fmt.Errorf("list folder: %w", err)
	}
	type turned struct {
		name string
		at   time.Time
	}
	var all []turned
	for _, e := range entries {
		if !e.Type().IsRegular() || !IsRotated(c.base, e.Name()) {
			continue
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // rotated once more since the listing
		}
		if err != nil {
			return nil, fmt.Errorf("list folder: %w", err)
		}
		all = append(all, turned{e.Name(), st.ModTime()})
	}
	slices.SortStableFunc(all, func(a, b turned) int { return cmp.Or(a.at.Compare(b.at), -cmp.Compare(a.name, b.name)) })
	var names []string
	active, _, err := c.identityOf(c.base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	look := catalog{d: c.d, base: c.base, known: slices.Clone(c.known), silent: true}
	for _, t := range all {
		n, _, err := look.number(t.name, 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		_, first, err := c.identityOf(t.name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		copying := n == 0 && strings.HasSuffix(active, first) // it will be cut short now
		if (len(names) > 0 || n > 0) && !copying {
			names = append(names, t.name)
		}
	}
	return names, nil
}

// identityOf returns the identity of a file, and the end of it that is of the first line.
func (c *catalog) identityOf(name string) (id, first string, err error) {
	f, err := c.d.Open(name, os.O_RDONLY)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	if id, err = f.ID(); err != nil {
		return "", "", fmt.Errorf("identify segment %s: %w", name, err)
	}
	line, _, err := firstLine(f, name)
	if err != nil {
		return "", "", err
	}
	id = identity(id, line)
	return id, id[strings.LastIndexByte(id, '-'):], nil
}

// gave reports whether the number n was given to a segment of another program.
func (c *catalog) gave(n uint64) bool {
	return slices.ContainsFunc(c.known, func(k foreign) bool { return k.base == c.base && k.number == n })
}

// over begins the identity of a segment that was cut short and begun anew: its number is
// that of the old content.
const over = "over-"

// adopt gives a rotated copy the number of the segment that it is a copy of: one with the
// same first line that was cut short after that. It returns false if there is none.
func (c *catalog) adopt(name, id string) bool {
	if !IsRotated(c.base, name) || slices.ContainsFunc(c.known, func(k foreign) bool { return k.base == c.base && k.id == id }) {
		return false
	}
	first := id[strings.LastIndexByte(id, '-'):]
	for i := len(c.known) - 1; i >= 0; i-- {
		k := &c.known[i]
		if k.base == c.base && strings.HasSuffix(k.id, first) && (strings.HasPrefix(k.id, over) || c.gone(k.id)) {
			k.id = id
			return true
		}
	}
	return false
}

// gone reports whether the active segment has the file of an identity, and another first
// line by now: it was cut short.
func (c *catalog) gone(id string) bool {
	now, first, err := c.identityOf(c.base)
	return err == nil && now != id && strings.HasPrefix(id, strings.TrimSuffix(now, first)+"-")
}

// Renumber lets the segment of base that has a number get a new one, because another
// program cut it short and began it anew: no place is given twice. The old number stays
// with a copy of the old content, if there is one.
func Renumber(d Folder, base string, number uint64) (err error) {
	lock, err := d.Lock(foreignLock)
	if err != nil {
		return fmt.Errorf("save known segments: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	known, err := loadForeign(d)
	if err != nil {
		return err
	}
	for i, k := range known {
		if k.base == base && k.number == number && !strings.HasPrefix(k.id, over) {
			known[i].id = over + k.id
		}
	}
	if err := saveForeign(d, known); err != nil {
		return fmt.Errorf("save known segments: %w", err)
	}
	return nil
}

// is reports whether f, whose first line is first, is the segment numbered n.
func (c *catalog) is(f File, first []byte, n uint64) bool {
	id, err := f.ID()
	if err != nil {
		return false
	}
	id = identity(id, first)
	i := slices.IndexFunc(c.known, func(k foreign) bool { return k.base == c.base && k.id == id })
	return i >= 0 && c.known[i].number == n
}

// cutShort reports whether another program cut the segment short and began it anew, as
// logrotate does by copytruncate, perhaps until it was longer than before. Then the
// segment gets a new number, and Next goes on in a copy of the old content, if there is
// one, and then in the new.
func (r *Reader) cutShort() (bool, error) {
	if !r.alien || r.torn || r.at.Offset == 0 || len(r.buf) > 0 {
		return false, nil
	}
	line, whole, err := lineBefore(r.f, r.at.Offset)
	if err != nil || whole && SumOf(line) == SumOf(r.last) {
		return false, err
	}
	if err := Renumber(r.cat.d, r.cat.base, r.at.Segment); err != nil {
		return false, err
	}
	r.log.Info("another program cut its log short and began it anew", "lane", r.cat.base, "at", r.at.String())
	r.f.Close()
	r.f, r.ahead.stale = nil, true
	return true, nil
}
