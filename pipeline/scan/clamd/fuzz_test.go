// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
)

// FuzzSession: a scanner says arbitrary bytes in a session of two files. There is a
// verdict only if each file has one reply in the words of the grammar; and the session
// ends.
func FuzzSession(f *testing.F) {
	f.Add([]byte("@: stream: OK\x00@: stream: OK\x00@: PONG\x00"))
	file := oneByte(f)
	f.Fuzz(func(t *testing.T, said []byte) {
		// @ stands for the next id that is due.
		ours, theirs := net.Pipe()
		s := openFuzzed(t, ours, theirs, said)
		if s.send(file) {
			s.send(file)
		}
		answers := s.finish(t.Context(), 0).answers
		for i, a := range answers {
			if (a.Verdict == "") == (a.Err == nil) {
				t.Fatalf("%q: answer %d is %+v", said, i, a)
			}
			if a.Verdict == "" || a.Verdict == scan.Unscanned {
				continue
			}
			if bytes.Count(said, []byte(": stream: ")) < len(answers) || bytes.IndexByte(said, 0) < 0 {
				t.Fatalf("%q: a verdict out of nothing: %+v", said, a)
			}
			if a.Verdict == scan.Clean && !bytes.Contains(said, []byte("stream: OK\x00")) || a.Verdict == scan.Malicious && !bytes.Contains(said, []byte(" FOUND\x00")) {
				t.Fatalf("%q: answer %d is %+v", said, i, a)
			}
		}
	})
}

// openFuzzed opens a session. Its other end takes all bytes, and says said.
func openFuzzed(t *testing.T, ours, theirs net.Conn, said []byte) *session {
	t.Helper()
	go func() {
		_, _ = io.Copy(io.Discard, theirs) // until our end closes
		theirs.Close()
	}()
	s := &session{conn: ours, address: &address{network: "tcp"}, timeout: 20 * time.Millisecond, done: make(chan struct{}), over: make(chan struct{}), heard: transcript{subject: "stream", lead: 1}}
	s.stop = func() bool { return true }
	t.Cleanup(s.address.rest)
	go s.read()
	go func() {
		_, _ = theirs.Write(append([]byte("1: PONG\x00"), fill(said, 2)...)) // our end may have closed
		theirs.Close()
	}()
	return s
}

// TestWhatLiesBehindAFenceIsADoubt: also where it is no whole reply, and the connection stays
// open. Nobody waits for its end.
func TestWhatLiesBehindAFenceIsADoubt(t *testing.T) {
	ours, theirs := net.Pipe()
	s := &session{conn: ours, address: &address{network: "tcp"}, timeout: time.Minute, done: make(chan struct{}), over: make(chan struct{}), heard: transcript{subject: "stream", lead: 1}}
	s.stop = func() bool { return true }
	go s.read()
	go func() {
		_, _ = theirs.Write([]byte("1: PONG\x00")) // our end may have closed
		var got []byte
		for part := make([]byte, 100); !bytes.HasSuffix(got, []byte("zPING\x00")); {
			n, err := theirs.Read(part)
			if got = append(got, part[:n]...); err != nil {
				return
			}
		}
		_, _ = theirs.Write([]byte("2: stream: OK\x003: PONG\x00rest"))
	}()
	s.send(oneByte(t))
	begun := time.Now()
	if all := s.finish(t.Context(), 0).answers; len(all) != 1 || all[0].Err == nil || time.Since(begun) > 30*time.Second {
		t.Errorf("%+v after %v", all, time.Since(begun))
	}
}

// FuzzKeyedSession: a scanner says arbitrary bytes after all was sent, in a session that
// asks for the version ahead of two files and after them. The answers have a key only
// if the version was told twice; verdicts are as in any session.
func FuzzKeyedSession(f *testing.F) {
	const version = "ClamAV 1.4.3/27000/x"
	f.Add([]byte("@: stream: OK\x00@: stream: OK\x00@: " + version + "\x00"))
	f.Fuzz(func(t *testing.T, said []byte) {
		heard := &transcript{
			subject: "stream", keyed: true, lead: 2,
			slots: []slot{{size: 1, whole: true, sent: true}, {size: 1, whole: true, sent: true}}, closing: true,
		}
		text := fill(said, 3)
		all := slices.Concat([]byte("1: "+version+"\x002: PONG\x00"), text)
		for {
			line, rest, ok := bytes.Cut(all, []byte{0})
			if !ok || !heard.take(line) {
				break
			}
			all = rest
		}
		if len(all) > 0 || !heard.whole() {
			return
		}
		if n := bytes.Count(text, []byte{0}); n != 3 {
			t.Fatalf("%q: %d replies to three questions are sound", said, n)
		}
		// The version comes whole, or replies about files come between its id and its text.
		lines := append([]byte{0}, text...)
		last := bytes.Contains(lines, []byte("\x005: "+version+"\x00")) ||
			bytes.Contains(lines, []byte("\x005: ")) && bytes.Contains(lines, []byte("\x00"+version+"\x00"))
		for _, a := range heard.verdicts(0) {
			if (a.Verdict == "") == (a.Err == nil) {
				t.Fatalf("%q: %+v", said, a)
			}
			if a.Key != "" && (!last || a.Key != version || a.Err != nil) {
				t.Fatalf("%q: the version was not told twice: %+v", said, a)
			}
		}
	})
}

// fill returns said with an id in place of each @: the first is id, and each next one
// is higher by one.
func fill(said []byte, id int) (text []byte) {
	for ; ; id++ {
		head, rest, more := bytes.Cut(said, []byte("@"))
		if text = append(text, head...); !more {
			return text
		}
		text, said = fmt.Append(text, id), rest
	}
}

// oneByte returns an open file of one byte.
func oneByte(f testing.TB) scan.File {
	f.Helper()
	path := filepath.Join(f.TempDir(), "f")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		f.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { file.Close() })
	return scan.File{F: file, Size: 1}
}

// FuzzNextBatch: in a session whose first batch was sound a scanner says arbitrary bytes in
// the second one. It is sound only if each question of that batch was answered once, by its
// own id.
func FuzzNextBatch(f *testing.F) {
	f.Add([]byte("@: PONG\x00@: stream: OK\x00@: stream: OK\x00@: PONG\x00"))
	f.Add([]byte("2: stream: OK\x00@: PONG\x00@: stream: OK\x00@: stream: OK\x00@: PONG\x00"))
	f.Fuzz(func(t *testing.T, said []byte) {
		first := &transcript{subject: "stream", lead: 1, slots: []slot{{size: 1, whole: true, sent: true}}, closing: true}
		for _, line := range []string{"1: PONG", "2: stream: OK", "3: PONG"} {
			if !first.take([]byte(line)) {
				t.Fatal(line)
			}
		}
		next := first.next(false)
		next.slots, next.closing = []slot{{size: 1, whole: true, sent: true}, {size: 1, whole: true, sent: true}}, true
		text := fill(said, 4)
		all := text
		for {
			line, rest, ok := bytes.Cut(all, []byte{0})
			if !ok || !next.take(line) {
				break
			}
			all = rest
		}
		if len(all) > 0 || !next.whole() {
			return
		}
		if n := bytes.Count(text, []byte{0}); n != 4 {
			t.Fatalf("%q: %d replies to four questions are sound", said, n)
		}
		lines := append([]byte{0}, text...)
		for id := 4; id <= 7; id++ {
			if bytes.Count(lines, fmt.Appendf(nil, "\x00%d: ", id)) != 1 {
				t.Fatalf("%q: id %d was not answered once", text, id)
			}
		}
	})
}
