// SPDX-License-Identifier: Apache-2.0

// Package scantest is a scanner for tests. Server speaks clamd's protocol and
// misbehaves on demand. Clamd runs the real clamd.
//
// Invariants:
//
//  1. All goroutines, sockets and processes end with the test that started them.
//  2. A Server records a file that it took whole before it answers.
//  3. A Server says FOUND only of EICAR and of a file that holds the marker.
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

// The behaviours. PINGs are answered where nothing else is said.
const (
	Proper      Behaviour = iota // as clamd does
	Refuse                       // nothing listens
	Reset                        // connections are reset at once, or at the next command
	Close                        // connections are closed at once, or at the next command
	Mute                         // nothing is answered any more
	Hang                         // files are taken and not answered
	Drop                         // files are taken, then the connection is closed
	Drip                         // replies come one byte a second
	Garbage                      // replies about files are not in the grammar
	HangUp                       // the first file is answered, then the connection is closed
	Early                        // streams are answered before they were sent whole, then taken; descriptors as with Hang
	Flood                        // a gigabyte without an end in place of a reply
	Fail                         // every file gets an ERROR of its own
	Sick                         // every file gets "Can't allocate memory"
	Duplicate                    // replies about files come twice
	Alien                        // replies about files carry another id
	Extra                        // one reply too many behind a PING or a VERSION that comes after files
	Torn                         // the reply about a file lacks its end
	ReadTimeout                  // "COMMAND READ TIMED OUT" in place of a reply
	Blind                        // every file is OK
)

// Received is one file that a Server took whole.
type Received struct {
	SHA256 [sha256.Size]byte
	Size   int64 // bytes
	At     time.Time
}

// Server is a clamd in this process. Several goroutines may call its methods at once.
type Server struct {
	t       testing.TB
	network string
	at      string
	ended   chan struct{} // closed at the end of the test
	quiet   chan struct{} // a token: a connection is mute
	wg      sync.WaitGroup
	profile

	mu        sync.Mutex // guards all that follows
	listener  net.Listener
	conns     map[net.Conn]struct{}
	behaviour Behaviour
	marker    string
	failOn    string
	crashOn   string
	outage    time.Duration
	streamMax int64
	delay     time.Duration
	versions  versions
	received  []Received
	sessions  int
}

// versions are the answers to VERSION: now, and right behind files if later is set.
type versions struct{ now, later string }

// Start returns a Server that listens on network, "unix" or "tcp" (loopback),
// and behaves properly. It ends with the test.
func Start(t testing.TB, network string) *Server {
	t.Helper()
	s := &Server{
		t: t, network: network, at: "127.0.0.1:0", ended: make(chan struct{}), quiet: make(chan struct{}, 1),
		conns: map[net.Conn]struct{}{}, versions: versions{now: "ClamAV 1.4.3/27000/scantest"},
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

// shortDir returns a temporary folder whose path leaves room for the name of a socket.
// The folder of t.TempDir has the name of the test in it, which may be long.
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
		if err != nil { // under Wine: the client has hung up already
			continue
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		select {
		case <-s.ended: // hangUp may have run before this connection was noted
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

// Addr returns the address for a scanner's configuration: "unix:/path" or
// "tcp:host:port". It is the same before and after Refuse.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.network + ":" + s.at
}

// Set changes the behaviour, also of open connections. Refuse closes them.
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

// SetMarker lets files that hold text be found as Scantest.Marker; "": none.
func (s *Server) SetMarker(text string) { s.set(func() { s.marker = text }) }

// SetFailOn lets files that hold text be answered with an ERROR; "": none.
func (s *Server) SetFailOn(text string) { s.set(func() { s.failOn = text }) }

// SetCrashOn lets a file that holds text close every connection; "": none.
func (s *Server) SetCrashOn(text string) { s.set(func() { s.crashOn = text }) }

// SetOutage sets for how long nothing listens after each crash; 0: it goes on listening.
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

// SetStreamMax sets how many bytes a stream may have; a longer one is refused as clamd
// does. 0: no limit.
func (s *Server) SetStreamMax(bytes int64) { s.set(func() { s.streamMax = bytes }) }

// SetDelay sets how long the answer to each file takes. Files of a session overlap.
func (s *Server) SetDelay(d time.Duration) { s.set(func() { s.delay = d }) }

// SetVersion changes the answer to VERSION. "COMMAND UNAVAILABLE" ends the session, as
// clamd does where an operator switched VERSION off.
func (s *Server) SetVersion(v string) { s.set(func() { s.versions.now = v }) }

// SetVersionAfter changes the answer to a VERSION that comes right behind files; "": it is the answer of SetVersion.
func (s *Server) SetVersionAfter(v string) { s.set(func() { s.versions.later = v }) }

// Mutter writes a reply that nobody asked for on every connection.
func (s *Server) Mutter(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_, _ = c.Write([]byte(text + "\x00")) // it may be closed
	}
}

// Quiet waits until a connection is mute.
func (s *Server) Quiet(t testing.TB) {
	t.Helper()
	select {
	case <-s.quiet:
	case <-time.After(time.Minute):
		t.Error("no connection is mute")
	}
}

func (s *Server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// Received returns the files that were taken whole so far, in order of arrival.
func (s *Server) Received() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Received(nil), s.received...)
}

// Count returns how often a file of this content was taken whole.
func (s *Server) Count(content []byte) int {
	sum, n := sha256.Sum256(content), 0
	for _, r := range s.Received() {
		if r.SHA256 == sum {
			n++
		}
	}
	return n
}

// Sessions returns how many connections held at least one file.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// Open returns how many connections there are now.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// EICAR returns the EICAR test file. It is assembled at run time, so that no source
// holds it.
func EICAR() []byte {
	return []byte(strings.Join([]string{`X5O!P%@AP[4\PZX54(P^)7CC)7}$`, `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`}, ""))
}
