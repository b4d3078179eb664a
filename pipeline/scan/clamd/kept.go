// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"slices"
	"sync"
	"time"
)

const (
	idleFor  = 5 * time.Second // a session that nobody needed for so long is ended; clamd ends one after 30 s
	mostKept = 4               // sessions that an address keeps
)

// keepsOver reports whether sessions over a network are kept: over tcp one that is kept is
// slow where the system cannot be told to acknowledge at once.
func keepsOver(network string) bool { return network == "unix" || acksAtOnce }

// kept are the sessions of an address that wait for their next batch.
type kept struct {
	mu       sync.Mutex // guards the field below
	sessions []*session // the one that was used last is the last one
}

// keep keeps a session until it is taken, or was idle for long. It returns false if there
// are enough.
func (a *address) keep(s *session) bool {
	a.kept.mu.Lock()
	defer a.kept.mu.Unlock()
	if len(a.kept.sessions) >= mostKept {
		return false
	}
	a.kept.sessions = append(a.kept.sessions, s)
	s.idle = time.AfterFunc(idleFor, func() { a.end(s) })
	return true
}

// take returns a kept session that can take a batch, or nil. It ends those that cannot.
func (a *address) take() *session {
	for {
		a.kept.mu.Lock()
		n := len(a.kept.sessions) - 1
		if n < 0 {
			a.kept.mu.Unlock()
			return nil
		}
		s := a.kept.sessions[n]
		a.kept.sessions = a.kept.sessions[:n]
		s.idle.Stop()
		a.kept.mu.Unlock()
		if s.usable() {
			return s
		}
		s.abort()
	}
}

// end ends a session, if it is still kept.
func (a *address) end(s *session) {
	a.kept.mu.Lock()
	defer a.kept.mu.Unlock()
	if i := slices.Index(a.kept.sessions, s); i >= 0 {
		a.kept.sessions = slices.Delete(a.kept.sessions, i, i+1)
		_ = s.conn.Close() // all was answered
	}
}

// rest ends all sessions that are kept, and waits until what reads them has ended.
func (a *address) rest() {
	a.kept.mu.Lock()
	all := a.kept.sessions
	a.kept.sessions = nil
	a.kept.mu.Unlock()
	for _, s := range all {
		s.idle.Stop()
		_ = s.conn.Close() // all was answered
		<-s.done
	}
}
