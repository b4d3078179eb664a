// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	mostIDs  = 1 << 24         // a session that used so many is not kept
)

// session is one IDSESSION. It takes one batch of files after the other, from whoever has
// taken it: that goroutine sends and calls finish. One other, read, takes the replies, until
// the connection ends.
type session struct {
	conn    net.Conn
	address *address
	timeout time.Duration // the longest wait without progress
	done    chan struct{} // closed when read has ended
	stop    func() bool   // lets go of the batch's ctx
	reused  bool          // the batch is not the first one
	idle    *time.Timer   // ends it while it is kept; address.mu guards it

	mu      sync.Mutex // guards all that follows, and the deadline of conn
	heard   transcript
	over    chan struct{} // closed when the batch is whole, or read has ended
	isOver  bool
	frozen  bool   // the deadline is final
	unread  error  // why the file could not be read
	sendErr error  // why sending failed
	end     error  // how reading ended
	ended   bool   // read has ended
	rest    []byte // bytes after the last whole reply
}

// openSession starts a session on conn, and the goroutine that reads; and it begins the
// first batch. A keyed batch asks for the version ahead of all files and after them.
func openSession(ctx context.Context, conn net.Conn, a *address, timeout time.Duration, keyed bool) *session {
	s := &session{
		conn: conn, address: a, timeout: timeout, done: make(chan struct{}), over: make(chan struct{}),
		heard: transcript{subject: "stream", keyed: keyed, lead: leadingPings()},
	}
	if a.network == "unix" {
		s.heard.subject = "fd"
	}
	s.progress()
	s.stop = context.AfterFunc(ctx, s.cut)
	go s.read()
	s.hello("zIDSESSION\x00")
	return s
}

// begin begins the next batch of a session that was kept.
func (s *session) begin(ctx context.Context, keyed bool) {
	s.mu.Lock()
	said := s.heard.fault
	s.reused, s.heard = true, s.heard.next(keyed)
	if said != nil { // behind the last fence: nobody knows what it was about
		f := scan.Failed(scan.Void, "read reply: it came behind a batch that was over")
		if said.Err != nil {
			f.Raw = said.Err.Raw
		}
		s.heard.spoil(scan.Answer{Err: f})
	}
	if s.over, s.isOver = make(chan struct{}), false; s.ended {
		s.finished()
	}
	s.extend()
	s.mu.Unlock()
	s.stop = context.AfterFunc(ctx, s.cut)
	s.hello("")
}

// hello sends what goes ahead of the files of a batch.
func (s *session) hello(first string) {
	text := strings.Repeat("zPING\x00", s.heard.lead)
	if s.heard.keyed {
		text = strings.Replace(text, "PING", "VERSION", 1)
	}
	if _, err := s.conn.Write([]byte(first + text)); err != nil {
		s.sendFailed(err)
	}
	acknowledge(s.conn)
}

// finished closes over, once for a batch. The caller holds mu.
func (s *session) finished() {
	if !s.isOver {
		s.isOver = true
		close(s.over)
	}
}

// progress moves the deadline of conn to a whole timeout from now.
func (s *session) progress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extend()
}

// extend is progress for a caller that holds mu. Of a session that was kept nobody knows
// whether its connection still leads to clamd, before it has answered.
func (s *session) extend() {
	wait := s.timeout
	if s.reused && s.heard.led == 0 {
		wait = min(wait, dialTimeout)
	}
	if !s.frozen {
		// An error means a closed connection; Read and Write report that.
		_ = s.conn.SetDeadline(time.Now().Add(wait))
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
	broken := s.heard.fault != nil || s.ended || s.sendErr != nil
	s.extend()
	s.mu.Unlock()
	if broken {
		return false
	}
	var err error
	switch {
	case s.heard.subject != "fd":
		err = s.stream(n, f)
	case f.InMemory(): // F may have other bytes by now
		err = &readError{errInMemory}
	default:
		s.lastByte(n, [32]byte{})
		err = passDescriptor(s.conn, f.F)
	}
	if err != nil {
		s.sendFailed(err)
		return false
	}
	acknowledge(s.conn) // a write ends it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard.slots[n].sent = true
	s.extend()
	s.rested()
	return s.heard.fault == nil && !s.ended
}

// lastByte notes that the last byte of file n is about to be sent, and the SHA-256 of what
// was sent. It is called before the write, because the reply may come before the write
// returns.
func (s *session) lastByte(n int, sum [32]byte) {
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
	if s.sendErr == nil && !s.ended { // when read has ended, that is why
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

// batch is how a batch ended.
type batch struct {
	answers []scan.Answer // one for each file that was sent
	stale   bool          // it met a connection that clamd had ended meanwhile: nothing was answered
	silent  bool          // clamd refused VERSION
}

// finish sends the fence and waits for the last reply of the batch. Then the session is kept
// for the next batch, which may begin at once, or it is over. The caller must not touch it
// any more.
func (s *session) finish(ctx context.Context, maxSize int64) batch {
	fence := "zPING\x00"
	if s.heard.keyed {
		fence = "zVERSION\x00"
	}
	s.mu.Lock()
	going := s.heard.fault == nil && !s.ended && s.sendErr == nil && s.unread == nil
	s.heard.closing = going
	if going {
		s.extend()
	}
	s.mu.Unlock()
	if going {
		if _, err := s.conn.Write([]byte(fence)); err != nil {
			s.sendFailed(err)
		}
	}
	<-s.over
	let := s.stop()
	s.mu.Lock()
	b := batch{silent: s.heard.silent}
	sound := s.sound()
	if sound {
		b.answers = s.heard.verdicts(maxSize)
	}
	keep := let && sound && keepsOver(s.address.network) && !s.ended && !s.frozen && s.heard.after() < mostIDs
	if keep {
		_ = s.conn.SetDeadline(time.Time{}) // a closed connection is found out by the next batch
	}
	s.mu.Unlock()
	if keep && s.address.keep(s) {
		return b
	}
	s.abort()
	<-s.done
	if !sound {
		b.answers, b.stale = s.void(ctx), s.stale(ctx)
	}
	return b
}

// read takes replies until the connection ends or a reply spoils the session. Then it
// closes done, and no Read or Write waits any more.
func (s *session) read() {
	defer close(s.done)
	defer s.cut()
	var got []byte
	chunk := make([]byte, maxReply)
	for {
		n, err := s.conn.Read(chunk)
		acknowledge(s.conn)
		got = append(got, chunk[:n]...)
		for {
			line, rest, ok := bytes.Cut(got, []byte{0})
			if !ok {
				break
			}
			if !s.take(line) {
				s.ends(err, nil)
				return
			}
			got = rest
		}
		if len(got) > maxReply {
			s.spoil(scan.Failed(scan.Unclear, "read reply: over %d bytes without an end", maxReply).About(got))
			s.ends(err, nil)
			return
		}
		// What comes behind the last reply is a doubt. If the chunk is full there may be more.
		if !s.settle(len(got) == 0 && n < len(chunk), got) || err != nil {
			s.ends(err, got)
			return
		}
		if len(got) == 0 {
			got = nil // it may lie long
		}
	}
}

// settle ends the batch if all was answered. alone says that nothing comes behind; if more
// does, also later, the session is spoiled, and settle returns false.
func (s *session) settle(alone bool, rest []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.isOver && bytes.HasPrefix([]byte(timedOut+"\n"), rest): // clamd ends what is idle for long
	case !s.isOver && (!s.heard.closing || !s.heard.whole()):
	case !s.isOver && alone:
		s.finished()
	default:
		s.heard.spoil(scan.Answer{Err: scan.Failed(scan.Unclear, "read reply: more came than was asked for").About(rest)})
		return false
	}
	return true
}

// ends notes how reading ended.
func (s *session) ends(err error, rest []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end, s.rest, s.ended = err, rest, true
	s.finished()
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

// sound reports whether the replies of the batch count. The caller holds mu.
func (s *session) sound() bool {
	return s.heard.whole() && s.sendErr == nil && s.unread == nil && len(s.rest) == 0
}

// stale reports whether the batch met a connection that clamd had ended meanwhile, or that
// leads nowhere any more: nothing was answered. It is asked when read has ended.
func (s *session) stale(ctx context.Context) bool {
	return s.reused && s.heard.led == 0 && !s.heard.doubtful() && s.unread == nil && ctx.Err() == nil
}

// usable reports whether a session that was kept is to take a batch. A doubtful one is: the
// batch is void, and so brings a canary.
func (s *session) usable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard.doubtful() || !s.ended && !s.frozen && s.heard.fault == nil
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
