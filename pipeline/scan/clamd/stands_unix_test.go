// SPDX-License-Identifier: Apache-2.0

//go:build unix

package clamd

import (
	"bufio"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// TestWhatClamdStands: a client may have 64 samples without an answer. One that sends
// thousands and reads no answer waits for clamd, and clamd for the client: so the number
// of samples in flight has a bound.
func TestWhatClamdStands(t *testing.T) {
	d := scantest.Clamd(t)
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("harmless"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// send asks n times and reads nothing. It returns how many it could ask.
	send := func(n int, limit time.Duration) (net.Conn, int) {
		t.Helper()
		conn, err := net.Dial("unix", strings.TrimPrefix(d.UnixAddr, "unix:"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // it may be half written to
		if _, err := conn.Write([]byte("zIDSESSION\x00")); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetWriteDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := passDescriptor(conn, f); errors.Is(err, os.ErrDeadlineExceeded) {
				return conn, i
			} else if err != nil {
				t.Fatalf("question %d: %v", i+1, err)
			}
		}
		return conn, n
	}
	conn, sent := send(64, time.Minute)
	if sent != 64 {
		t.Fatalf("only %d of 64 could be asked without reading", sent)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for in, i := bufio.NewReader(conn), 0; i < sent; i++ {
		if reply, err := in.ReadString(0); err != nil || !strings.Contains(reply, ": OK") {
			t.Fatalf("answer %d: %q, %v", i+1, reply, err)
		}
	}
	if _, sent := send(1_000_000, 5*time.Second); sent == 1_000_000 {
		t.Error("a million questions were taken, and no answer was read: the bound may be higher")
	} else {
		t.Logf("after %d questions neither side goes on", sent)
	}
}
