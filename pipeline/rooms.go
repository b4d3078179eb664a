// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"path/filepath"
	"strings"

	"github.com/certpush/certpush/pipeline/internal/cache"
	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/journal"
)

// Room is what one part of the state uses on disk.
type Room struct {
	Part  string // live, backlog, ledger, tries, index or cache
	Bytes int64
	Max   int64 // bytes that what is finished may have; negative: no limit. What a promise rests on is not bounded
}

// Rooms returns the parts of the state that c names, with what they use now. A part that
// is not there, or that cannot be listed, has no bytes. It makes nothing.
func Rooms(c Config) ([]Room, error) {
	c, err := c.Filled()
	if err != nil {
		return nil, err
	}
	return c.rooms(), nil
}

func (c Config) rooms() []Room {
	led := filepath.Join(c.State, "ledger")
	all := []Room{
		{"live", c.sizeOf(c.Journal.Dir, journal.Base(journal.Live)), c.Journal.Max},
		{"backlog", c.sizeOf(c.Journal.Dir, journal.Base(journal.Backlog)), c.Journal.Max},
		{"ledger", c.sizeOf(led, ledger.Base), c.Ledger.Max},
		{"tries", c.sizeOf(led, ledger.TriesBase), c.Ledger.Max},
		{"index", c.sizeOfStore("index"), -1},
		{"cache", c.sizeOfStore("cache"), cache.Most},
	}
	if c.Half == config.ConsumerOnly { // the other process has the bounds of the journal
		all[0].Max, all[1].Max = -1, -1
	}
	return all
}

// sizeOf returns how many bytes the segments of a series have, and the keys beside them.
func (c Config) sizeOf(dir, base string) (n int64) {
	d, err := c.disk.FindFolder(dir)
	if err != nil {
		return 0
	}
	defer d.Close()
	entries, err := d.List()
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), base) {
			continue
		}
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
			n += st.Size()
		}
	}
	return n
}

// sizeOfStore returns how many bytes the files of a store have.
func (c Config) sizeOfStore(name string) (n int64) {
	dir := filepath.Join(c.State, name)
	names, err := c.disk.Pebble.List(dir)
	if err != nil {
		return 0
	}
	for _, file := range names {
		if st, err := c.disk.Pebble.Stat(filepath.Join(dir, file)); err == nil && !st.IsDir() {
			n += st.Size()
		}
	}
	return n
}
