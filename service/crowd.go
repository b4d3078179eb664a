// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net"
	"slices"
	"sync"
)

// mostGuests is how many connections the admin endpoint holds. Each takes a descriptor
// of the process, and the process needs descriptors for samples.
const mostGuests = 64

// crowd holds the connections to the admin endpoint. When full, a new connection evicts
// the oldest one, except connections with an authorized request in progress.
type crowd struct {
	mu  sync.Mutex // guards all and each guest
	all []*guest   // the oldest first
}

// guest is one connection.
type guest struct {
	conn net.Conn
	kept bool // an authorized request is in progress
}

// guestKey is the context's key for the guest of a connection.
type guestKey struct{}

// enter adds conn. If there are too many it closes the oldest connection that is not
// kept, or conn itself if all are kept.
func (c *crowd) enter(conn net.Conn) *guest {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := &guest{conn: conn}
	if len(c.all) >= mostGuests {
		i := slices.IndexFunc(c.all, func(g *guest) bool { return !g.kept })
		if i < 0 {
			conn.Close() // its server reads an error
			return g
		}
		c.all[i].conn.Close()
		c.all = slices.Delete(c.all, i, i+1)
	}
	c.all = append(c.all, g)
	return g
}

// leave removes a connection that is closed.
func (c *crowd) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = slices.DeleteFunc(c.all, func(g *guest) bool { return g.conn == conn })
}

// keep sets whether g is kept. g may be nil.
func (c *crowd) keep(g *guest, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g != nil {
		g.kept = on
	}
}
