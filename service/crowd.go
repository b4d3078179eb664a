// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net"
	"slices"
	"sync"
	"time"
)

// How many connections an admin endpoint holds. Each takes a descriptor of the process,
// and the process needs descriptors for samples.
const (
	mostGuests = 64 // of those that have given no order
	mostOrders = 16 // of those whose order is carried out, and of those of trusted peers
)

// letIn is how long a connection surely has to send its request. The request of a client
// that waited for its turn was sent before.
const letIn = 100 * time.Millisecond

// crowd holds the connections to an admin endpoint. Orders have places of their own, so
// that no crowd pushes them out. When the other places are full, a new connection evicts
// the oldest one that had its time.
type crowd struct {
	mu     sync.Mutex // guards the fields below and each guest
	all    map[net.Conn]*guest
	guests []*guest // without those that are kept, the oldest first
	kept   int
}

// guest is one connection.
type guest struct {
	conn    net.Conn
	since   time.Time
	kept    bool // it has one of the places for orders
	trusted bool // it keeps such a place as long as it is open
	gone    bool // it is closed
}

// guestKey is the context's key for the guest of a connection.
type guestKey struct{}

// enter adds conn. A trusted one gets a place for orders while there is one. For any other
// enter evicts the oldest guest if there are too many; it waits until that had its time,
// so the connections after this one wait in the queue of the system.
func (c *crowd) enter(conn net.Conn, trusted bool) *guest {
	g := &guest{conn: conn, trusted: trusted}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[net.Conn]*guest{}
	}
	c.all[conn] = g
	if trusted && c.kept < mostOrders {
		g.kept = true
		c.kept++
		return g
	}
	for len(c.guests) >= mostGuests {
		oldest := c.guests[0]
		if wait := letIn - time.Since(oldest.since); wait > 0 {
			c.mu.Unlock()
			time.Sleep(wait)
			c.mu.Lock()
			continue
		}
		oldest.conn.Close()
		c.guests = slices.Delete(c.guests, 0, 1)
	}
	g.since = time.Now()
	c.guests = append(c.guests, g)
	return g
}

// leave removes a connection that is closed.
func (c *crowd) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.all[conn]
	if g == nil {
		return
	}
	delete(c.all, conn)
	g.gone = true
	if g.kept {
		g.kept = false
		c.kept--
	}
	c.drop(g)
}

// drop takes g off the list of guests.
func (c *crowd) drop(g *guest) {
	c.guests = slices.DeleteFunc(c.guests, func(o *guest) bool { return o == g })
}

// keep gives g a place for orders until release. It returns false if there is none. g may
// be nil.
func (c *crowd) keep(g *guest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case g == nil || g.kept || g.gone:
		return true
	case c.kept >= mostOrders:
		return false
	}
	g.kept = true
	c.kept++
	c.drop(g)
	return true
}

// release makes g a guest like any other again. g may be nil.
func (c *crowd) release(g *guest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g == nil || !g.kept || g.trusted || g.gone {
		return
	}
	g.kept = false
	c.kept--
	g.since = time.Now()
	c.guests = append(c.guests, g)
}
