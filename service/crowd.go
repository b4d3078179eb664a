// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net"
	"slices"
	"sync"
)

// mostGuests is how many connections the admin endpoint holds. Each costs a
// descriptor of the process, and samples need theirs.
const mostGuests = 64

// crowd is who is connected to the admin endpoint. It never locks anybody out: a
// newcomer that is one too many takes the place of who is there longest. Only who
// gave an order that takes its time, and was let in, keeps his place.
type crowd struct {
	mu  sync.Mutex
	all []*guest // who came first is first
}

// guest is one connection.
type guest struct {
	conn net.Conn
	kept bool
}

// guestKey marks a connection's guest in its context.
type guestKey struct{}

// enter takes conn in and closes another one, or conn itself, where it is one too
// many.
func (c *crowd) enter(conn net.Conn) *guest {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := &guest{conn: conn}
	if len(c.all) >= mostGuests {
		i := slices.IndexFunc(c.all, func(g *guest) bool { return !g.kept })
		if i < 0 {
			conn.Close() // who serves it finds out
			return g
		}
		c.all[i].conn.Close()
		c.all = slices.Delete(c.all, i, i+1)
	}
	c.all = append(c.all, g)
	return g
}

// leave lets go of a connection that is closed.
func (c *crowd) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = slices.DeleteFunc(c.all, func(g *guest) bool { return g.conn == conn })
}

// keep has g keep its place, or no longer.
func (c *crowd) keep(g *guest, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g != nil {
		g.kept = on
	}
}
