// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// room is what the cache knows of the room on its disk.
type room struct {
	short atomic.Bool   // nothing is remembered meanwhile
	empty atomic.Bool   // it was emptied since
	told  chan struct{} // Run is to make room
}

// Short tells the cache whether room is short. Then it forgets all verdicts, for nothing
// rests on them, and remembers none until there is room again. Short does not wait for
// that: gone reports whether no more room is to be had of it.
func (c *Cache) Short(is bool) (gone bool) {
	if !is {
		c.room.short.Store(false)
		c.room.empty.Store(false)
		return false
	}
	c.room.short.Store(true)
	if c.room.empty.Load() || c.Damage() != nil || c.Stalled() != nil {
		return true // a disk that refuses the cache waits for what others can give
	}
	select {
	case c.room.told <- struct{}{}:
	default:
	}
	return false
}

// makeRoom forgets all verdicts, once.
func (c *Cache) makeRoom(ctx context.Context) {
	if c.Damage() != nil || c.room.empty.Load() || !c.room.short.Load() {
		return
	}
	err := c.Do(ctx, func() error {
		if err := c.DB.DeleteRange(nil, behind, pebble.NoSync); err != nil {
			return err
		}
		return c.DB.Compact(ctx, nil, behind, true)
	})
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		c.log.Warn("the cache of verdicts cannot be emptied to make room; what is next goes instead: look at its disk", "error", err)
	} else {
		c.log.Warn("room is short; the cache of verdicts is emptied, and remembers none until there is room: free some space on the disk of the state")
	}
	c.room.empty.Store(true)
}
