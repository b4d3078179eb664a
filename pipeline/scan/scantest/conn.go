// SPDX-License-Identifier: Apache-2.0

package scantest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// conn is one client.
type conn struct {
	s     *Server
	net   net.Conn
	fds   []*os.File // passed; their FILDES was not yet obeyed
	got   []byte     // read and not yet used
	group bool       // in an IDSESSION
	id    int        // of the last command in the IDSESSION
	files int        // commands about files so far
	batch int        // those since the last PING or VERSION
	scans sync.WaitGroup

	mu sync.Mutex // held while one reply is written
}

var errLimit = errors.New("stream over the limit")

func (s *Server) serve(n net.Conn) {
	c := &conn{s: s, net: n}
	defer func() {
		for _, f := range c.fds {
			f.Close()
		}
	}()
	if c.refused() {
		return
	}
	for {
		command, err := c.until(0)
		if err != nil || c.refused() {
			return
		}
		if !c.obey(string(command)) {
			c.scans.Wait()
			return
		}
	}
}

// refused reports whether the server takes no command now. If it is mute it waits for the
// end of the test.
func (c *conn) refused() bool {
	switch c.s.now() {
	case Reset:
		if tcp, ok := c.net.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		return true
	case Close:
		return true
	case Mute:
		select {
		case c.s.quiet <- struct{}{}:
		default:
		}
		<-c.s.ended
		return true
	}
	return false
}

func (s *Server) now() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviour
}

// obey carries out one command and reports whether another may follow.
func (c *conn) obey(command string) bool {
	if c.group && command != "zEND" {
		c.id++
	}
	id := c.id
	switch command {
	case "zIDSESSION":
		c.group = true
		return true
	case "zPING":
		if c.ends() && c.s.now() == Extra {
			c.write(fmt.Appendf(nil, "%d: PONG\x00%d: PONG\x00", id, id+1))
			break
		}
		c.reply(id, "PONG")
	case "zVERSION":
		return c.tell(id) && c.group
	case "zINSTREAM":
		c.counts()
		body, err := c.stream(id)
		if errors.Is(err, errLimit) {
			c.reply(id, "INSTREAM size limit exceeded. ERROR")
			return false
		}
		return err == nil && c.judge(id, "stream", body)
	case "zFILDES":
		c.counts()
		body, err := c.passed()
		if err != nil {
			c.reply(id, "No file descriptor received. ERROR")
			return false
		}
		return c.judge(id, "fd[12]", body)
	case "zEND":
		c.scans.Wait()
		return false
	default:
		c.reply(id, "UNKNOWN COMMAND")
		return false
	}
	return c.group
}

// tell answers VERSION and reports whether the connection stays. In a session it writes
// two parts, as clamd does, and the files that are being scanned are answered between
// them.
func (c *conn) tell(id int) bool {
	ends := c.ends()
	c.s.mu.Lock()
	version := c.s.versions.now
	if ends && c.s.versions.later != "" {
		version = c.s.versions.later
	}
	c.s.mu.Unlock()
	if version == "COMMAND UNAVAILABLE" {
		c.reply(id, version)
		return false
	}
	if c.group {
		c.write(fmt.Appendf(nil, "%d: ", id))
		c.scans.Wait()
	}
	text := version + "\x00"
	if ends && c.s.now() == Extra {
		text += fmt.Sprintf("%d: PONG\x00", id+1)
	}
	c.write([]byte(text))
	return true
}

// ends reports whether a PING or VERSION comes behind files, and begins the next batch.
func (c *conn) ends() bool {
	n := c.batch
	c.batch = 0
	return n > 0
}

// counts notes a command about a file.
func (c *conn) counts() {
	c.files++
	c.batch++
	if c.files == 1 {
		c.s.set(func() { c.s.sessions++ })
	}
}

// stream takes one INSTREAM and returns the bytes of its file.
func (c *conn) stream(id int) ([]byte, error) {
	if c.s.now() == Early {
		c.reply(id, "stream: OK")
	}
	c.s.mu.Lock()
	limit := c.s.streamMax
	c.s.mu.Unlock()
	var body []byte
	for {
		head, err := c.exactly(4)
		if err != nil {
			return nil, err
		}
		size := int64(binary.BigEndian.Uint32(head))
		if size == 0 {
			return body, nil
		}
		if limit > 0 && int64(len(body))+size > limit {
			return nil, errLimit
		}
		part, err := c.exactly(int(size))
		if err != nil {
			return nil, err
		}
		body = append(body, part...)
	}
}

// passed reads the file whose descriptor came with FILDES.
func (c *conn) passed() ([]byte, error) {
	if _, err := c.exactly(1); err != nil {
		return nil, err
	}
	if len(c.fds) == 0 {
		return nil, errors.New("no descriptor")
	}
	f := c.fds[0]
	c.fds = c.fds[1:]
	defer f.Close()
	info, err := f.Stat()
	if err == nil && c.s.denies(info) {
		return nil, errors.New("no descriptor")
	}
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("not a regular file"))
	}
	return io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
}

// judge answers about one file and reports whether the connection stays.
func (c *conn) judge(id int, subject string, body []byte) bool {
	s := c.s
	s.mu.Lock()
	s.received = append(s.received, Received{SHA256: sha256.Sum256(body), Size: int64(len(body)), At: time.Now()})
	behaviour, delay := s.behaviour, s.delay
	holds := func(text string) bool { return text != "" && bytes.Contains(body, []byte(text)) }
	crash, fail, marked := holds(s.crashOn), holds(s.failOn), holds(s.marker)
	s.mu.Unlock()
	text := "OK"
	switch {
	case crash:
		s.crash()
		return false
	case behaviour == Sick:
		text = "Can't allocate memory ERROR"
	case s.locks(body):
		text = "Can't access file ERROR"
	case fail || behaviour == Fail:
		text = "Bad format or broken data ERROR"
	case behaviour == Blind:
	case marked:
		text = "Scantest.Marker FOUND"
	case bytes.Contains(body, EICAR()):
		text = "Scantest.Eicar FOUND"
	default:
		text = unpack(body)
	}
	if delay <= 0 {
		return c.answer(behaviour, id, subject+": "+text)
	}
	c.scans.Go(func() {
		select {
		case <-time.After(delay):
		case <-s.ended:
			return
		}
		if !c.answer(behaviour, id, subject+": "+text) {
			c.net.Close()
		}
	})
	return true
}

// unpack answers for a zip, as its members deserve.
func unpack(body []byte) string {
	z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return "OK"
	}
	for _, m := range z.File {
		if m.Flags&1 != 0 {
			return "Heuristics.Encrypted.Zip FOUND"
		}
		r, err := m.Open()
		if err != nil {
			continue
		}
		if text, err := io.ReadAll(r); err == nil && bytes.Contains(text, EICAR()) {
			return "Scantest.Eicar FOUND"
		}
	}
	return "OK"
}

// answer sends the reply about a file, as the behaviour alters it, and reports whether
// the connection stays.
func (c *conn) answer(b Behaviour, id int, text string) bool {
	switch b {
	case Hang, Early:
		return true
	case Drop:
		return false
	case Garbage:
		c.write([]byte("\xff\x01 what? OK FOUND\x00"))
	case HangUp:
		c.reply(id, text)
		return false
	case Flood:
		c.flood()
		return false
	case Duplicate:
		c.reply(id, text)
		c.reply(id, text)
	case Alien:
		c.reply(id+1000, text)
	case Torn:
		c.write(fmt.Appendf(nil, "%d: %s", id, text))
		return false
	case ReadTimeout:
		c.write([]byte("COMMAND READ TIMED OUT\n"))
		return false
	default:
		c.reply(id, text)
	}
	return true
}

func (c *conn) flood() {
	part := bytes.Repeat([]byte("stream: OK "), 6<<10)
	for sent := 0; sent < 1<<30; sent += len(part) {
		if !c.write(part) {
			return
		}
	}
}

// reply sends one reply. In a session it carries the id.
func (c *conn) reply(id int, text string) {
	if c.group {
		text = fmt.Sprintf("%d: %s", id, text)
	}
	c.write([]byte(text + "\x00"))
}

func (c *conn) write(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.now() != Drip {
		_, err := c.net.Write(p)
		return err == nil
	}
	for i := range p {
		select {
		case <-c.s.ended:
			return false
		case <-time.After(time.Second):
		}
		if _, err := c.net.Write(p[i : i+1]); err != nil {
			return false
		}
	}
	return true
}

// until reads up to the byte end, and returns the bytes before it.
func (c *conn) until(end byte) ([]byte, error) {
	for {
		if i := bytes.IndexByte(c.got, end); i >= 0 {
			line := c.got[:i]
			c.got = c.got[i+1:]
			return line, nil
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// exactly reads n bytes.
func (c *conn) exactly(n int) ([]byte, error) {
	for len(c.got) < n {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	part := c.got[:n:n]
	c.got = c.got[n:]
	return part, nil
}

// fill reads more bytes into got, and the descriptors that come with them into fds.
func (c *conn) fill() error {
	buf := make([]byte, 64<<10)
	n, files, err := receive(c.net, buf)
	c.fds = append(c.fds, files...)
	c.got = append(c.got, buf[:max(n, 0)]...)
	if n <= 0 && err == nil {
		return io.EOF
	}
	return err
}
