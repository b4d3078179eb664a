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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
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
	keyed   bool          // the first PING and the last are VERSIONs
	lead    int           // ids up to lead are PINGs; the first file's is lead+1
	done    chan struct{} // closed when nothing is read any more
	stop    func() bool   // lets go of ctx

	mu      sync.Mutex
	led     int // replies of the lead that came
	slots   []slot
	first   string // the version as it was told ahead of the files
	last    string // and after them
	torn    bool   // its id came, and then a reply about a file
	silent  bool   // VERSION was refused
	closing bool   // the last PING and zEND are on their way
	closed  bool   // the reply to that came: all before the end was taken
	frozen  bool   // deadlines are final
	unread  error  // the file could not be read
	sendErr error
	end     error  // how reading ended
	early   bool   // it ended before the end was on its way
	rest    []byte // bytes after the last whole reply
	fault   *scan.Answer
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

// openSession starts a session on conn and its reader. A keyed one asks for the
// version, ahead of all files and after them.
func openSession(ctx context.Context, conn net.Conn, a *address, timeout time.Duration, keyed bool) *session {
	s := &session{
		conn: conn, address: a, subject: "stream", timeout: timeout,
		keyed: keyed, lead: leadingPings(), done: make(chan struct{}),
	}
	hello := []byte("zIDSESSION\x00" + strings.Repeat("zPING\x00", s.lead))
	if keyed {
		hello = bytes.Replace(hello, []byte("PING"), []byte("VERSION"), 1)
	}
	if a.network == "unix" {
		s.subject = "fd"
	}
	s.progress()
	s.stop = context.AfterFunc(ctx, s.cut)
	go s.read()
	if _, err := conn.Write(hello); err != nil {
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
	if !s.frozen && s.led == s.lead && !s.owes() {
		_ = s.conn.SetDeadline(time.Time{})
	}
}

// owes reports whether a file has no reply yet.
func (s *session) owes() bool {
	return slices.ContainsFunc(s.slots, func(f slot) bool { return !f.answered })
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
func (s *session) send(f scan.File) bool {
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
func (s *session) finish(ctx context.Context, maxSize int64) []scan.Answer {
	end := "zPING\x00zEND\x00"
	if s.keyed {
		end = "zVERSION\x00zEND\x00"
	}
	s.mu.Lock()
	sound := s.fault == nil && s.end == nil && s.sendErr == nil && s.unread == nil
	s.closing = sound
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
			s.spoil(scan.Failed(scan.Unclear, "read reply: over %d bytes without an end", maxReply).About(got))
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
func (s *session) spoil(f *scan.Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		s.fault = &scan.Answer{Err: f}
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
func (s *session) place(line []byte) *scan.Answer {
	unclear := func(why string) *scan.Answer {
		return &scan.Answer{Err: scan.Failed(scan.Unclear, "read reply: %s", why).About(line)}
	}
	id, r := parseReply(line)
	after := uint64(s.lead + len(s.slots) + 1) // the first id after the files'
	_, text, _ := cutID(line)
	switch due := s.keyed && s.closing && s.led == s.lead && !s.closed; {
	case s.keyed && id == 1 && s.led == 0:
		return s.versioned(text, r)
	case due && id == after && !s.torn && s.aboutFile(text):
		// clamd writes its version in two parts, first the id, and its other threads write
		// whole replies between them.
		s.torn = true
		return s.place(text)
	case due && id == after && !s.torn:
		return s.versioned(text, r)
	case due && id == 0 && s.torn && r.word == unknown:
		return s.versioned(line, r)
	}
	if id != 0 && id <= uint64(s.lead) {
		if r.word == refusal {
			a := r.judge(line)
			return &a
		}
		if r.word != pong || id != uint64(s.led+1) {
			return unclear("it is not the PONG due")
		}
		s.led++
		s.moved()
		return nil
	}
	if r.word == pong && s.closing && !s.closed && !s.keyed && s.led == s.lead && id == after {
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
		if s.subject != "stream" || open < 0 || s.slots[open].answered || id != 0 && id != uint64(s.lead+1+open) {
			return unclear("it is about no file of this session")
		}
		a := r.judge(line)
		return &a
	case unknown:
		return unclear("it is not in the grammar")
	case pong:
		return unclear("it is a PONG not due")
	}
	if id == 0 || id > uint64(s.lead+len(s.slots)) {
		return unclear("its id is not of this session")
	}
	slot := &s.slots[int(id)-s.lead-1]
	switch {
	case s.led < s.lead:
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
	slot.answered, slot.reply, slot.raw = true, r, bytes.Clone(line[:min(len(line), scan.MaxRaw)])
	s.moved()
	return nil
}

// aboutFile reports whether line is a reply about a file of this session.
func (s *session) aboutFile(line []byte) bool {
	id, r := parseReply(line)
	return r.subject != "" && id > uint64(s.lead) && id <= uint64(s.lead+len(s.slots))
}

// versioned takes the reply to VERSION, r, the one ahead of the files or the one
// after them. One that another question could have is not taken for a version.
func (s *session) versioned(text []byte, r reply) *scan.Answer {
	if r.word == refusal {
		s.silent = true
		return &scan.Answer{Err: scan.Failed(scan.Void, "ask clamd: it does not tell its version in a session").About(text)}
	}
	if r.word != unknown || len(text) == 0 || len(text) > maxVersion {
		return &scan.Answer{Err: scan.Failed(scan.Unclear, "read reply: it is no version").About(text)}
	}
	if s.led == 0 {
		s.first = string(text)
		s.led++
	} else {
		s.last, s.closed = string(text), true
	}
	s.moved()
	return nil
}

// key is what all files of a sound session were judged by. clamd hands a file to
// the database that it has when it comes to the file's command, and answers VERSION
// by that same one, each in its turn: so where it tells the same number ahead of all
// files and after them there was no other in between.
func (s *session) key() string {
	if !s.keyed || s.first != s.last || !numbered(s.first) {
		return ""
	}
	return s.first
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
	return !s.owes()
}

// verdicts is what a sound session said.
func (s *session) verdicts(maxSize int64) []scan.Answer {
	answers := make([]scan.Answer, len(s.slots))
	for i, slot := range s.slots {
		answers[i] = scan.Beyond(slot.reply.judge(slot.raw), slot.size, maxSize)
		if answers[i].Err == nil {
			answers[i].Key = s.key()
		}
	}
	return answers
}

// void is what a session comes to whose replies do not count. With several
// files it says nothing about any of them, save that the scanner took none.
func (s *session) void(ctx context.Context) []scan.Answer {
	a := s.cause(ctx)
	if len(s.slots) > 1 && (a.Err == nil || a.Err.Kind != scan.Down) {
		f := &scan.Failure{Kind: scan.Void, Err: errors.New("end session: it also held a file beyond the scanner's limit")}
		if a.Err != nil {
			f.Raw, f.Err = a.Err.Raw, a.Err.Err
		}
		a = scan.Answer{Err: f}
	}
	answers := make([]scan.Answer, len(s.slots))
	for i := range answers {
		answers[i] = a
	}
	return answers
}

// cause says why the session does not count, as the answer of a file alone.
func (s *session) cause(ctx context.Context) scan.Answer {
	switch {
	case ctx.Err() != nil:
		return scan.Answer{Err: &scan.Failure{Kind: scan.Void, Err: scan.Ended(ctx)}}
	case s.unread != nil:
		return scan.Answer{Err: &scan.Failure{Kind: scan.Unread, Err: s.unread}}
	case s.fault != nil:
		return *s.fault
	}
	last := s.slots[len(s.slots)-1]
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
	if s.led == s.lead && s.slots[0].sent {
		return scan.Answer{Err: &scan.Failure{Kind: scan.Refused, Err: why}}
	}
	return scan.Answer{Err: &scan.Failure{Kind: scan.Down, Err: why}}
}
