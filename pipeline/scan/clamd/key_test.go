// SPDX-License-Identifier: Apache-2.0

package clamd_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/clamd"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

const (
	version = "ClamAV 1.4.3/27000/scantest"
	another = "ClamAV 1.4.3/27001/scantest"
)

// keyed returns a Scanner whose Answers have a Key. Its clamd has answered a ping.
func keyed(t testing.TB, addr string, timeout time.Duration) scan.Scanner {
	t.Helper()
	s, err := clamd.New(scan.Config{Addresses: []string{addr}, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAnswersTellTheirKey, for a file alone and among others, while clamd answers
// VERSION in two parts.
func TestAnswersTellTheirKey(t *testing.T) {
	for _, network := range scantest.Networks() {
		t.Run(network, func(t *testing.T) {
			server := scantest.Start(t, network)
			server.SetDelay(20 * time.Millisecond)
			server.SetFailOn("fail")
			s := keyed(t, server.Addr(), time.Minute)
			files := []scan.File{open(t, []byte("one")), open(t, scantest.EICAR()), open(t, []byte("fail")), open(t, nil)}
			for i, a := range append(judge(t, s, files...), judge(t, s, files[0])...) {
				if i == 2 {
					if wantKind(t, a, scan.Refused); a.Key != "" {
						t.Errorf("no verdict, and yet %q", a.Key)
					}
				} else if a.Key != version {
					t.Errorf("file %d: %+v", i, a)
				}
			}
			if s.Key(t.Context()) != version {
				t.Error("it is not what Key says")
			}
			if a := judge(t, asks(t, time.Minute, server.Addr()), files[0])[0]; a.Key != "" || a.Verdict != scan.Clean {
				t.Errorf("not asked for: %+v", a)
			}
			server.SetVersionAfter(another)
			for i, a := range judge(t, s, files[:2]...) {
				if a.Key != "" || a.Verdict == "" {
					t.Errorf("its database changed, file %d: %+v", i, a)
				}
			}
		})
	}
}

// TestWhatIsNoVersion: whatever clamd tells as its version, the files get their
// verdicts; but a text that could answer another question spoils the session.
func TestWhatIsNoVersion(t *testing.T) {
	for _, c := range []struct {
		text string
		want scan.Kind // -1: a verdict without a key
	}{
		{"ClamAV 1.4.3", -1},
		{"ClamAV 1.4.3/0/scantest", -1},
		{"ClamAV 1.4.3/27000/\x1b[2J", -1},
		{"ClamAV 1.4.3\u202e/27000/scantest", -1},
		{"ClamAV 1.4.3/27000/scantest\n", -1},
		{"\xff\xfe what?", -1},
		{"1: ClamAV 1.4.3/27000x/scantest", -1},
		{"", scan.Unclear},
		{strings.Repeat("ClamAV 1.4.3/27000/", 20), scan.Unclear},
		{"PONG", scan.Unclear},
		{"stream: OK", scan.Unclear},
		{"fd[12]: OK", scan.Unclear},
		{"COMMAND UNAVAILABLE", scan.Void},
		{"UNKNOWN COMMAND", scan.Void},
	} {
		for _, set := range []func(*scantest.Server, string){(*scantest.Server).SetVersion, (*scantest.Server).SetVersionAfter} {
			server := scantest.Start(t, scantest.Networks()[0])
			s := keyed(t, server.Addr(), time.Minute)
			if set(server, c.text); c.text == "" {
				server.SetVersion("") // SetVersionAfter takes "" for no change
			}
			a := judge(t, s, open(t, []byte("good")))[0]
			if c.want >= 0 {
				wantKind(t, a, c.want)
			} else if a.Verdict != scan.Clean || a.Key != "" {
				t.Errorf("%q: %+v", c.text, a)
			}
		}
	}
}

// TestVersionRefused: if a session ends because clamd refuses VERSION, its files are
// Void, and the next session does not ask.
func TestVersionRefused(t *testing.T) {
	for _, network := range scantest.Networks() {
		server := scantest.Start(t, network)
		s := keyed(t, server.Addr(), time.Minute)
		server.SetVersion("COMMAND UNAVAILABLE")
		f := open(t, []byte("good"))
		for _, a := range judge(t, s, f, f) {
			wantKind(t, a, scan.Void, scan.Down) // Down: the refusal was lost with the connection
		}
		if v, err := s.Ping(t.Context()); v != "" || err != nil {
			t.Errorf("ping: %q, %v", v, err)
		}
		for _, v := range []string{"COMMAND UNAVAILABLE", version} { // the second: another clamd behind the same address may tell it
			server.SetVersion(v)
			if _, err := s.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			if a := judge(t, s, f)[0]; a.Verdict != scan.Clean || a.Key != "" {
				t.Errorf("asked: %+v", a)
			}
		}
	}
}

// TestRealClamdTellsItsVersionWhole: clamd writes the reply to VERSION in two parts, and
// its other threads may write replies between them. No session is spoiled by that.
func TestRealClamdTellsItsVersionWhole(t *testing.T) {
	c := scantest.Clamd(t)
	for _, addr := range []string{c.UnixAddr, c.TCPAddr} {
		s := keyed(t, addr, time.Minute)
		var files []scan.File
		for i := range 16 {
			files = append(files, open(t, bytes.Repeat(fmt.Appendf(nil, "some text to look at %d ", i), 100*i)))
		}
		for n := range 200 {
			for i, a := range judge(t, s, files[n%13:n%13+4]...) {
				if a.Verdict != scan.Clean { // its database has no number, so there is no key
					t.Fatalf("%s: file %d: %+v", addr, i, a)
				}
			}
		}
	}
}
