// SPDX-License-Identifier: Apache-2.0

package scan

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
)

const (
	maxReply = 64 << 10        // bytes of a reply; more is no reply
	drain    = 2 * time.Second // how long a reply may take that was on its way when sending failed
)

// session is one IDSESSION: the caller's goroutine sends, one other reads.
type session struct {
	conn    net.Conn
	address *address
	subject string // what replies about files begin with: "fd" or "stream"
	timeout time.Duration
	pings   int           // ids 1 to pings are PINGs; the first file's is pings+1
	done    chan struct{} // closed when nothing is read any more
	stop    func() bool   // lets go of ctx

	mu      sync.Mutex
	pongs   int
	slots   []slot
	closing bool  // zPING and zEND are on their way
	closed  bool  // the PONG to that came: all before the end was taken
	frozen  bool  // deadlines are final
	unread  error // the file could not be read
	sendErr error
	end     error  // how reading ended
	early   bool   // it ended before the end was on its way
	rest    []byte // bytes after the last whole reply
	fault   *Answer
}

// slot is one file of a session.
type slot struct {
	size     int64
	whole    bool // its last byte is on its way: a reply is no longer early
	sent     bool // its last byte was taken by the system
	answered bool
	reply    reply
	raw      []byte
}

// openSession starts a session on conn and its reader.
func openSession(ctx context.Context, conn net.Conn, a *address, timeout time.Duration) *session {
	s := &session{
		conn: conn, address: a, subject: "stream", timeout: timeout,
		pings: leadingPings(), done: make(chan struct{}),
	}
	if a.network == "unix" {
		s.subject = "fd"
	}
	s.progress()
	s.stop = context.AfterFunc(ctx, s.cut)
	go s.read()
	hello := "zIDSESSION\x00" + strings.Repeat("zPING\x00", s.pings)
	if _, err := conn.Write([]byte(hello)); err != nil {
		s.sendFailed(err)
	}
	return s
}

// progress grants another timeout. While nothing is owed the caller may take
// its time over the next file.
func (s *session) progress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extend()
}

func (s *session) extend() {
	if !s.frozen {
		// An error here means a closed connection, which Read and Write report.
		_ = s.conn.SetDeadline(time.Now().Add(s.timeout))
	}
}

// rested lets the deadline go while the scanner owes us nothing.
func (s *session) rested() {
	if s.frozen || s.pongs < s.pings {
		return
	}
	for i := range s.slots {
		if !s.slots[i].answered {
			return
		}
	}
	_ = s.conn.SetDeadline(time.Time{})
}

// cut makes every Read and Write fail at once.
func (s *session) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = true
	_ = s.conn.SetDeadline(time.Unix(1, 0))
}

// hurry grants one last wait.
func (s *session) hurry(wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.frozen {
		s.frozen = true
		_ = s.conn.SetDeadline(time.Now().Add(wait))
	}
}

// send sends one file and reports whether the session can take another.
func (s *session) send(f File) bool {
	s.mu.Lock()
	s.slots = append(s.slots, slot{size: f.Size})
	n := len(s.slots) - 1
	broken := s.fault != nil || s.end != nil || s.sendErr != nil
	s.extend()
	s.mu.Unlock()
	if broken {
		return false
	}
	var err error
	if s.subject == "fd" {
		s.ends(n)
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
	s.slots[n].sent = true
	s.extend()
	s.rested()
	return s.fault == nil && s.end == nil
}

// ends marks that the last byte of file n is about to go. It comes before the
// write, for the reply may come before the write returns.
func (s *session) ends(n int) {
	s.mu.Lock()
	s.slots[n].whole = true
	s.mu.Unlock()
}

// sendFailed ends the sending. A reply may be there that says why, so the reader
// is given a moment; after a failed read of the file nothing is waited for, and
// the connection is reset so that the scanner never takes the part for the whole.
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

// abort tears the connection down without an orderly end.
func (s *session) abort() {
	if tcp, ok := s.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = s.conn.Close()
}

// finish ends the session, waits for the last reply and says what it all means.
func (s *session) finish(ctx context.Context, maxSize int64) []Answer {
	s.mu.Lock()
	sound := s.fault == nil && s.end == nil && s.sendErr == nil && s.unread == nil
	s.closing = sound
	if sound {
		s.extend()
	}
	s.mu.Unlock()
	if sound {
		if _, err := s.conn.Write([]byte("zPING\x00zEND\x00")); err != nil {
			s.sendFailed(err)
		}
	}
	<-s.done
	s.stop()
	s.abort()
	if s.sound() {
		return s.verdicts(maxSize)
	}
	return s.void(ctx)
}

// read takes replies until the connection ends or a reply spoils the session.
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
			s.spoil(failed(Unclear, "read reply: over %d bytes without an end", maxReply).about(got))
			s.cut()
			return
		}
		if err != nil {
			s.mu.Lock()
			s.end, s.rest, s.early = err, got, !s.closing
			s.mu.Unlock()
			s.cut()
			return
		}
	}
}

// spoil notes the first reason why the session does not count.
func (s *session) spoil(f *Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		s.fault = &Answer{Err: f}
	}
}

// take notes one reply and reports whether the session is still sound.
func (s *session) take(line []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.place(line)
	if a != nil && s.fault == nil {
		s.fault = a
	}
	return a == nil
}

// place ties a reply to what it answers. It returns nil, or what the session has
// come to. No verdict on what is inside a file comes from here.
func (s *session) place(line []byte) *Answer {
	unclear := func(why string) *Answer {
		return &Answer{Err: failed(Unclear, "read reply: %s", why).about(line)}
	}
	id, r := parseReply(line)
	if id != 0 && id <= uint64(s.pings) {
		if r.word == refusal {
			a := r.judge(line)
			return &a
		}
		if r.word != pong || id != uint64(s.pongs+1) {
			return unclear("it is not the PONG due")
		}
		s.pongs++
		s.moved()
		return nil
	}
	if r.word == pong && s.closing && !s.closed && s.pongs == s.pings && id == uint64(s.pings+len(s.slots)+1) {
		s.closed = true
		s.extend()
		return nil
	}
	open := len(s.slots) - 1
	switch r.word {
	case readTimeout, refusal:
		a := r.judge(line)
		return &a
	case streamLimit:
		// It comes in the middle of the file it is about, which is the last one.
		if s.subject != "stream" || open < 0 || s.slots[open].answered || id != 0 && id != uint64(s.pings+1+open) {
			return unclear("it is about no file of this session")
		}
		a := r.judge(line)
		return &a
	case unknown:
		return unclear("it is not in the grammar")
	case pong:
		return unclear("it is a PONG not due")
	}
	if id == 0 || id > uint64(s.pings+len(s.slots)) {
		return unclear("its id is not of this session")
	}
	slot := &s.slots[int(id)-s.pings-1]
	switch {
	case s.pongs < s.pings:
		return unclear("it comes before the PONGs due")
	case r.subject != s.subject:
		return unclear("it is about something that was not sent")
	case slot.answered:
		return unclear("its file was answered before")
	case !slot.whole && r.word == fileError:
		a := r.judge(line)
		return &a
	case !slot.whole:
		return unclear("its file was not sent whole yet")
	}
	slot.answered, slot.reply, slot.raw = true, r, bytes.Clone(line[:min(len(line), maxRaw)])
	s.moved()
	return nil
}

// moved is progress by the scanner.
func (s *session) moved() {
	s.extend()
	if !s.closing && len(s.slots) > 0 && s.slots[len(s.slots)-1].sent {
		s.rested()
	}
}

// sound reports whether the replies count.
func (s *session) sound() bool {
	if s.fault != nil || s.sendErr != nil || s.unread != nil || s.early || len(s.rest) > 0 ||
		!s.closed || !errors.Is(s.end, io.EOF) {
		return false
	}
	for i := range s.slots {
		if !s.slots[i].answered {
			return false
		}
	}
	return true
}

// verdicts is what a sound session said.
func (s *session) verdicts(maxSize int64) []Answer {
	answers := make([]Answer, len(s.slots))
	for i, slot := range s.slots {
		answers[i] = beyond(slot.reply.judge(slot.raw), slot.size, maxSize)
	}
	return answers
}

// void is what a session comes to whose replies do not count. With several
// files it says nothing about any of them, save that the scanner took none.
func (s *session) void(ctx context.Context) []Answer {
	a := s.cause(ctx)
	if len(s.slots) > 1 && (a.Err == nil || a.Err.Kind != Down) {
		f := &Failure{Kind: Void, Err: errors.New("end session: it also held a file beyond the scanner's limit")}
		if a.Err != nil {
			f.Raw, f.Err = a.Err.Raw, a.Err.Err
		}
		a = Answer{Err: f}
	}
	answers := make([]Answer, len(s.slots))
	for i := range answers {
		answers[i] = a
	}
	return answers
}

// cause says why the session does not count, as the answer of a file alone.
func (s *session) cause(ctx context.Context) Answer {
	switch {
	case ctx.Err() != nil:
		return Answer{Err: &Failure{Kind: Void, Err: ended(ctx)}}
	case s.unread != nil:
		return Answer{Err: &Failure{Kind: Unread, Err: s.unread}}
	case s.fault != nil:
		return *s.fault
	}
	last := s.slots[len(s.slots)-1]
	rest := strings.TrimSuffix(string(s.rest), "\n")
	switch _, r := parseReply([]byte(rest)); {
	case r.word == readTimeout:
		return r.judge(s.rest)
	case len(rest) > 0 && !errors.Is(s.end, os.ErrDeadlineExceeded):
		return Answer{Err: failed(Unclear, "read reply: it has no end").about(s.rest)}
	}
	why := fmt.Errorf("read reply: %w", errors.Join(s.end, s.sendErr))
	if last.answered {
		if a := last.reply.judge(last.raw); last.reply.word == fileError && a.Err != nil {
			return a
		}
		return Answer{Err: (&Failure{Kind: Unclear, Err: why}).about(last.raw)}
	}
	if s.pongs == s.pings && s.slots[0].sent {
		return Answer{Err: &Failure{Kind: Refused, Err: why}}
	}
	return Answer{Err: &Failure{Kind: Down, Err: why}}
}
