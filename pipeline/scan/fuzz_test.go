// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzSession has a scanner say arbitrary bytes in a session of two files. A
// verdict comes out only of one reply for each, in the words of the grammar; and
// the session ends.
func FuzzSession(f *testing.F) {
	f.Add([]byte("@: stream: OK\x00@: stream: OK\x00@: PONG\x00"))
	f.Fuzz(func(t *testing.T, said []byte) {
		// The ids are drawn by chance; @ stands for the next one that is due.
		ours, theirs := net.Pipe()
		s := openFuzzed(t, ours, theirs, said)
		if s.send(oneByte()) {
			s.send(oneByte())
		}
		answers := s.finish(t.Context(), 0)
		for i, a := range answers {
			if (a.Verdict == "") == (a.Err == nil) {
				t.Fatalf("%q: answer %d is %+v", said, i, a)
			}
			if a.Verdict == "" || a.Verdict == Unscanned {
				continue
			}
			if bytes.Count(said, []byte(": stream: ")) < len(answers) || bytes.IndexByte(said, 0) < 0 {
				t.Fatalf("%q: a verdict out of nothing: %+v", said, a)
			}
			if a.Verdict == Clean && !bytes.Contains(said, []byte("stream: OK\x00")) || a.Verdict == Malicious && !bytes.Contains(said, []byte(" FOUND\x00")) {
				t.Fatalf("%q: answer %d is %+v", said, i, a)
			}
		}
	})
}

// openFuzzed opens a session whose other end takes all and says said.
func openFuzzed(t *testing.T, ours, theirs net.Conn, said []byte) *session {
	t.Helper()
	go func() {
		_, _ = io.Copy(io.Discard, theirs) // until our end closes
		theirs.Close()
	}()
	s := &session{conn: ours, address: &address{network: "tcp"}, subject: "stream", timeout: 20 * time.Millisecond, pings: 1, done: make(chan struct{})}
	s.stop = func() bool { return true }
	go s.read()
	go func() {
		text := []byte("1: PONG\x00")
		for id := 2; ; id++ {
			head, rest, more := bytes.Cut(said, []byte("@"))
			if text = append(text, head...); !more {
				break
			}
			text, said = fmt.Append(text, id), rest
		}
		_, _ = theirs.Write(text) // our end may have closed
		theirs.Close()
	}()
	return s
}

// oneByte returns a file that lies on no disk.
func oneByte() File { return File{Size: 1, body: strings.NewReader("x")} }

// FuzzList: a list of arbitrary bytes is read or refused with a place, and every
// SHA-256 that stands alone on a line of one that is read is known.
func FuzzList(f *testing.F) {
	f.Add([]byte(eicarSum + "  eicar.com\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := readList(path)
		if err != nil {
			if l != nil || !strings.Contains(err.Error(), path+":") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for line := range bytes.Lines(text) {
			if sum, ok := parseSum(string(bytes.TrimSpace(line))); ok && l.names[sum] == "" {
				t.Fatalf("%q: %x is not known", text, sum)
			}
		}
		for sum, name := range l.names {
			if name == "" {
				t.Fatalf("%q: %x has no name", text, sum)
			}
		}
	})
}
