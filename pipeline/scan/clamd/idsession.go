// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
)

const (
	maxReply = 64 << 10        // bytes; a longer reply spoils the session
	drain    = 2 * time.Second // how long we wait for a reply after sending failed
)

// session is one IDSESSION. The goroutine that opened it sends and calls finish. One
// other, read, takes the replies; it ends before finish returns.
type session struct {
	conn    net.Conn
	address *address
	timeout time.Duration // the longest wait without progress
	done    chan struct{} // closed when read has ended
	stop    func() bool   // lets go of ctx

	mu      sync.Mutex // guards all that follows, and the deadline of conn
	heard   transcript
	frozen  bool   // the deadline is final
	unread  error  // why the file could not be read
	sendErr error  // why sending failed
	end     error  // how reading ended
	early   bool   // reading ended before we asked for the end
	rest    []byte // bytes after the last whole reply
}

// openSession starts a session on conn, and the goroutine that reads. A keyed session
// asks for the version ahead of all files and after them.
func openSession(ctx context.Context, conn net.Conn, a *address, timeout time.Duration, keyed bool) *session {
	s := &session{
		conn: conn, address: a, timeout: timeout, done: make(chan struct{}),
		heard: transcript{subject: "stream", keyed: keyed, lead: leadingPings()},
	}
	hello := []byte("zIDSESSION\x00" + strings.Repeat("zPING\x00", s.heard.lead))
	if keyed {
		hello = bytes.Replace(hello, []byte("PING"), []byte("VERSION"), 1)
	}
	if a.network == "unix" {
		s.heard.subject = "fd"
	}
	s.progress()
	s.stop = context.AfterFunc(ctx, s.cut)
	go s.read()
	if _, err := conn.Write(hello); err != nil {
		s.sendFailed(err)
	}
	return s
}

// progress moves the deadline of conn to a whole timeout from now.
func (s *session) progress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extend()
}

// extend is progress for a caller that holds mu.
func (s *session) extend() {
	if !s.frozen {
		// An error means a closed connection; Read and Write report that.
		_ = s.conn.SetDeadline(time.Now().Add(s.timeout))
	}
}

// rested removes the deadline while clamd owes no reply: the caller may take its time
// over the next file.
func (s *session) rested() {
	if !s.frozen && s.heard.led == s.heard.lead && !s.heard.owes() {
		_ = s.conn.SetDeadline(time.Time{})
	}
}

// cut makes each Read and Write fail at once, from now on.
func (s *session) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = true
	_ = s.conn.SetDeadline(time.Unix(1, 0))
}

// hurry sets the last deadline: wait from now. Only cut moves it after that.
func (s *session) hurry(wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.frozen {
		s.frozen = true
		_ = s.conn.SetDeadline(time.Now().Add(wait))
	}
}

// send sends one file and reports whether the session can take another.
func (s *session) send(f scan.File) bool {
	s.mu.Lock()
	s.heard.slots = append(s.heard.slots, slot{size: f.Size})
	n := len(s.heard.slots) - 1
	broken := s.heard.fault != nil || s.end != nil || s.sendErr != nil
	s.extend()
	s.mu.Unlock()
	if broken {
		return false
	}
	var err error
	if s.heard.subject == "fd" {
		s.ends(n, [32]byte{})
		err = passDescriptor(s.conn, f.F)
	} else {
		err = s.stream(n, f)
	}
	if err != nil {
		s.sendFailed(err)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard.slots[n].sent = true
	s.extend()
	s.rested()
	return s.heard.fault == nil && s.end == nil
}

// ends notes that the last byte of file n is about to be sent, and the SHA-256 of what
// was sent. It is called before the write, because the reply may come before the write
// returns.
func (s *session) ends(n int, sum [32]byte) {
	s.mu.Lock()
	s.heard.slots[n].whole, s.heard.slots[n].sum = true, sum
	s.mu.Unlock()
}

// sendFailed notes why sending ended. After a failed write, read waits up to drain for
// a reply that says why. If the file could not be read, the connection is reset at
// once, so that clamd never takes the part for the whole.
func (s *session) sendFailed(err error) {
	if bad, ok := errors.AsType[*readError](err); ok {
		s.mu.Lock()
		s.unread = bad
		s.mu.Unlock()
		s.abort()
		return
	}
	s.mu.Lock()
	if s.sendErr == nil {
		s.sendErr = err
	}
	s.mu.Unlock()
	s.hurry(min(drain, s.timeout))
}

// abort closes the connection. Over tcp it resets it.
func (s *session) abort() {
	if tcp, ok := s.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = s.conn.Close()
}

// finish asks clamd to end the session, waits for the last reply, and returns one
// answer for each file that was sent.
func (s *session) finish(ctx context.Context, maxSize int64) []scan.Answer {
	end := "zPING\x00zEND\x00"
	if s.heard.keyed {
		end = "zVERSION\x00zEND\x00"
	}
	s.mu.Lock()
	sound := s.heard.fault == nil && s.end == nil && s.sendErr == nil && s.unread == nil
	s.heard.closing = sound
	if sound {
		s.extend()
	}
	s.mu.Unlock()
	if sound {
		if _, err := s.conn.Write([]byte(end)); err != nil {
			s.sendFailed(err)
		}
	}
	<-s.done
	s.stop()
	s.abort()
	if s.sound() {
		return s.heard.verdicts(maxSize)
	}
	return s.void(ctx)
}

// read takes replies until the connection ends or a reply spoils the session. Then it
// closes done, and no Read or Write waits any more.
func (s *session) read() {
	defer close(s.done)
	var got []byte
	chunk := make([]byte, 4<<10)
	for {
		n, err := s.conn.Read(chunk)
		got = append(got, chunk[:n]...)
		for {
			line, rest, ok := bytes.Cut(got, []byte{0})
			if !ok {
				break
			}
			if !s.take(line) {
				s.cut()
				return
			}
			got = rest
		}
		if len(got) > maxReply {
			s.spoil(scan.Failed(scan.Unclear, "read reply: over %d bytes without an end", maxReply).About(got))
			s.cut()
			return
		}
		if err != nil {
			s.mu.Lock()
			s.end, s.rest, s.early = err, got, !s.heard.closing
			s.mu.Unlock()
			s.cut()
			return
		}
	}
}

// spoil notes why no reply of the session counts. The first reason stays.
func (s *session) spoil(f *scan.Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard.spoil(scan.Answer{Err: f})
}

// take notes one reply and reports whether the session is still sound.
func (s *session) take(line []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.heard.take(line) {
		return false
	}
	s.moved()
	return true
}

// moved grants another timeout: the scanner made progress.
func (s *session) moved() {
	s.extend()
	slots := s.heard.slots
	if !s.heard.closing && len(slots) > 0 && slots[len(slots)-1].sent {
		s.rested()
	}
}

// sound reports whether the replies count. It is asked when read has ended.
func (s *session) sound() bool {
	return s.heard.whole() && s.sendErr == nil && s.unread == nil && !s.early &&
		len(s.rest) == 0 && errors.Is(s.end, io.EOF)
}

// void returns the answers of a session that is not sound. One file alone gets the
// cause. Several files are all Void, because the session says nothing about any of
// them; but if clamd took none of them, they are Down.
func (s *session) void(ctx context.Context) []scan.Answer {
	a := s.cause(ctx)
	if len(s.heard.slots) > 1 && (a.Err == nil || a.Err.Kind != scan.Down) {
		f := &scan.Failure{Kind: scan.Void, Err: errors.New("end session: it also held a file beyond the scanner's limit")}
		if a.Err != nil {
			f.Raw, f.Err = a.Err.Raw, a.Err.Err
		}
		a = scan.Answer{Err: f}
	}
	answers := make([]scan.Answer, len(s.heard.slots))
	for i := range answers {
		answers[i] = a
	}
	return answers
}

// cause returns the reason for which the session does not count, as the answer for a
// file that was alone in it.
func (s *session) cause(ctx context.Context) scan.Answer {
	switch {
	case ctx.Err() != nil:
		return scan.Answer{Err: &scan.Failure{Kind: scan.Void, Err: scan.Ended(ctx)}}
	case s.unread != nil:
		return scan.Answer{Err: &scan.Failure{Kind: scan.Unread, Err: s.unread}}
	case s.heard.fault != nil:
		return *s.heard.fault
	}
	last := s.heard.slots[len(s.heard.slots)-1]
	rest := strings.TrimSuffix(string(s.rest), "\n")
	switch _, r := parseReply([]byte(rest)); {
	case r.word == readTimeout:
		return r.judge(s.rest)
	case len(rest) > 0 && !errors.Is(s.end, os.ErrDeadlineExceeded):
		return scan.Answer{Err: scan.Failed(scan.Unclear, "read reply: it has no end").About(s.rest)}
	}
	why := fmt.Errorf("read reply: %w", errors.Join(s.end, s.sendErr))
	if last.answered {
		if a := last.reply.judge(last.raw); last.reply.word == fileError && a.Err != nil {
			return a
		}
		return scan.Answer{Err: (&scan.Failure{Kind: scan.Unclear, Err: why}).About(last.raw)}
	}
	if s.heard.led == s.heard.lead && s.heard.slots[0].sent {
		return scan.Answer{Err: &scan.Failure{Kind: scan.Refused, Err: why}}
	}
	return scan.Answer{Err: &scan.Failure{Kind: scan.Down, Err: why}}
}
