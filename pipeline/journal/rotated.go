// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// IsRotated reports whether name is that of a segment of base which another program, such
// as logrotate, rotated without compressing it: BASE.1, BASE-20261122. See IsPacked.
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
		if !e.Type().IsRegular() || !IsRotated(c.base, e.Name()) && !IsPacked(c.base, e.Name()) {
			continue
		}
		if plain, is := strings.CutSuffix(e.Name(), packedEnd); is && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == plain }) {
			continue // it is being compressed
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
	every := make([]string, len(all))
	for i, t := range all {
		every[i] = t.name
	}
	return c.begun(every)
}

// begun returns those of names, oldest first, that are to be read: see rotated.
func (c *catalog) begun(all []string) (names []string, err error) {
	active, err := c.headOf(c.base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	look := catalog{d: c.d, base: c.base, known: slices.Clone(c.known), packed: c.packed, silent: true}
	if _, err := look.adoptPacked(all); err != nil {
		return nil, err
	}
	plain := map[string]bool{active.first: true} // how those begin that are not compressed
	for _, name := range all {
		h, err := c.headOf(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		plain[h.first] = plain[h.first] || IsRotated(c.base, name)
	}
	for _, name := range all {
		n, _, err := look.number(name, 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		h, err := c.headOf(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		// A copy of what is still there: that will be cut short now, or somebody keeps an
		// archive of his own.
		copied := n == 0 && (h.first == active.first || IsPacked(c.base, name) && plain[h.first])
		if (len(names) > 0 || n > 0) && !copied {
			names = append(names, name)
		}
	}
	return names, nil
}

// knows reports whether a segment with this identity has a number.
func (c *catalog) knows(id string) bool {
	return slices.ContainsFunc(c.known, func(k foreign) bool { return k.base == c.base && k.id == id })
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
	if !IsRotated(c.base, name) || c.knows(id) {
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
	now, err := c.headOf(c.base)
	return err == nil && now.id != id && strings.HasPrefix(id, strings.TrimSuffix(now.id, now.first)+"-")
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

// is reports whether f is the segment numbered n.
func (c *catalog) is(f File, name string, n uint64) bool {
	h, err := c.headIn(f, name)
	i := slices.IndexFunc(c.known, func(k foreign) bool { return k.base == c.base && k.id == h.id })
	return err == nil && i >= 0 && c.known[i].number == n
}

// cutShort reports whether another program cut the segment short and began it anew, as
// logrotate does by copytruncate, perhaps until it was longer than before. Then the
// segment gets a new number, and Next goes on in a copy of the old content, if there is
// one, and then in the new.
func (r *Reader) cutShort() (bool, error) {
	if _, is := r.f.(*packed); is || !r.alien || r.torn || r.at.Offset == 0 || len(r.buf) > 0 {
		return false, nil // nobody cuts short what is compressed
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
