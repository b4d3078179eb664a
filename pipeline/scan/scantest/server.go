// SPDX-License-Identifier: Apache-2.0

// Package scantest is a scanner for tests: Server speaks clamd's protocol and
// misbehaves on demand, Clamd runs the real one.
//
// Invariants:
//
//  1. All goroutines, sockets and processes end with the test that started them.
//  2. What a Server was sent whole is recorded before it is answered.
//  3. A Server says FOUND only of EICAR or a file that holds the marker.
package scantest

import (
	"crypto/sha256"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Behaviour is how a Server treats its clients.
type Behaviour int

// The behaviours. Unless said otherwise PINGs are answered.
const (
	Proper      Behaviour = iota // as clamd does
	Refuse                       // nothing listens
	Reset                        // connections are reset at once
	Close                        // connections are closed at once
	Mute                         // nothing is read or answered
	Hang                         // files are taken and not answered
	Drop                         // files are taken, then the connection is closed
	Drip                         // replies come one byte a second
	Garbage                      // replies about files are no replies
	HangUp                       // the first file is answered, then the connection is closed
	Early                        // streams are answered before they were sent whole, then taken; descriptors as by Hang
	Flood                        // a gigabyte without an end instead of a reply
	Fail                         // every file gets an ERROR of its own
	Sick                         // every file gets "Can't allocate memory"
	Duplicate                    // replies about files come twice
	Alien                        // replies about files carry another id
	Extra                        // a reply too many at the end of the session
	Torn                         // the reply about a file lacks its end
	ReadTimeout                  // "COMMAND READ TIMED OUT" instead of a reply
	Blind                        // every file is OK
)

// Received is one file a Server took whole.
type Received struct {
	SHA256 [sha256.Size]byte
	Size   int64 // bytes
	At     time.Time
}

// Server is a clamd in this process. Its methods may be called from several
// goroutines at once.
type Server struct {
	t       testing.TB
	network string
	at      string
	ended   chan struct{} // closed at the end of the test
	wg      sync.WaitGroup

	mu        sync.Mutex
	listener  net.Listener
	conns     map[net.Conn]struct{}
	behaviour Behaviour
	marker    string
	failOn    string
	crashOn   string
	outage    time.Duration
	streamMax int64
	delay     time.Duration
	version   string
	later     string
	received  []Received
	sessions  int
}

// Start returns a Server that listens on network, "unix" or "tcp" (loopback),
// and behaves properly. It ends with the test.
func Start(t testing.TB, network string) *Server {
	t.Helper()
	s := &Server{
		t: t, network: network, at: "127.0.0.1:0", ended: make(chan struct{}),
		conns: map[net.Conn]struct{}{}, version: "ClamAV 1.4.3/27000/scantest",
	}
	if network == "unix" {
		s.at = filepath.Join(shortDir(t), "clamd.sock")
	}
	if err := s.listen(); err != nil {
		t.Fatalf("start scantest server: %v", err)
	}
	t.Cleanup(s.stop)
	return s
}

// shortDir is a temporary folder whose path leaves room for a socket's name: a
// long test name would not.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "scantest")
	if err != nil {
		t.Fatalf("make folder: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *Server) listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.ended:
		return nil
	default:
	}
	if s.listener != nil {
		return nil
	}
	l, err := net.Listen(s.network, s.at)
	if err != nil {
		return err
	}
	s.listener, s.at = l, l.Addr().String()
	s.wg.Go(func() { s.accept(l) })
	return nil
}

func (s *Server) unlisten() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		s.listener.Close()
		s.listener = nil
	}
}

func (s *Server) stop() {
	close(s.ended)
	s.unlisten()
	s.hangUp()
	s.wg.Wait()
}

// hangUp closes all connections.
func (s *Server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // Wine tells so of a client that hung up by then
			continue
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		select {
		case <-s.ended: // hangUp may have gone by already
			c.Close()
		default:
		}
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// Addr returns the address as a scanner's configuration has it: "unix:/path" or
// "tcp:host:port". It stays the same over Refuse.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.network + ":" + s.at
}

// Set changes the behaviour, for open connections too. Refuse also closes those.
func (s *Server) Set(b Behaviour) {
	s.t.Helper()
	s.mu.Lock()
	s.behaviour = b
	s.mu.Unlock()
	if b == Refuse {
		s.unlisten()
		s.hangUp()
		return
	}
	if err := s.listen(); err != nil {
		s.t.Errorf("listen again: %v", err)
	}
}

// SetMarker has files that hold text found as Scantest.Marker; "" none.
func (s *Server) SetMarker(text string) { s.set(func() { s.marker = text }) }

// SetFailOn has files that hold text answered with an ERROR; "" none.
func (s *Server) SetFailOn(text string) { s.set(func() { s.failOn = text }) }

// SetCrashOn has files that hold text answered by closing every connection; "" none.
func (s *Server) SetCrashOn(text string) { s.set(func() { s.crashOn = text }) }

// SetOutage has nothing listen for this long after each crash; 0: it listens on.
func (s *Server) SetOutage(d time.Duration) { s.set(func() { s.outage = d }) }

// crash closes every connection, and listens again after the outage.
func (s *Server) crash() {
	s.mu.Lock()
	outage := s.outage
	s.mu.Unlock()
	if outage > 0 {
		s.unlisten()
		s.wg.Go(func() {
			select {
			case <-time.After(outage):
				if err := s.listen(); err != nil {
					s.t.Errorf("listen again: %v", err)
				}
			case <-s.ended:
			}
		})
	}
	s.hangUp()
}

// SetStreamMax has streams over this many bytes refused as clamd does; 0: none.
func (s *Server) SetStreamMax(bytes int64) { s.set(func() { s.streamMax = bytes }) }

// SetDelay has each file's answer take this long; files of a session overlap.
func (s *Server) SetDelay(d time.Duration) { s.set(func() { s.delay = d }) }

// SetVersion changes the answer to VERSION. "COMMAND UNAVAILABLE" ends the session,
// as in a clamd of an operator who switched it off.
func (s *Server) SetVersion(v string) { s.set(func() { s.version = v }) }

// SetVersionAfter changes the answer to VERSION for what a session asks after its
// first file; "": it stays.
func (s *Server) SetVersionAfter(v string) { s.set(func() { s.later = v }) }

func (s *Server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Received returns what was taken whole so far, in order of arrival.
func (s *Server) Received() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Received(nil), s.received...)
}

// Count tells how often a file of this content was taken whole.
func (s *Server) Count(content []byte) int {
	sum, n := sha256.Sum256(content), 0
	for _, r := range s.Received() {
		if r.SHA256 == sum {
			n++
		}
	}
	return n
}

// Sessions tells how many connections held at least one file.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// EICAR returns the EICAR test file, put together so that no source holds it.
func EICAR() []byte {
	return []byte(strings.Join([]string{`X5O!P%@AP[4\PZX54(P^)7CC)7}$`, `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`}, ""))
}
