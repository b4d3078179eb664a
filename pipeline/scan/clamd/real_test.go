// SPDX-License-Identifier: Apache-2.0

package clamd_test

import (
	"bytes"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/clamd"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

func TestRealClamd(t *testing.T) {
	c := scantest.Clamd(t, "StreamMaxLength 1M")
	for _, addr := range []string{c.UnixAddr, c.TCPAddr} {
		s := asks(t, time.Minute, addr)
		if v, err := s.Ping(t.Context()); err != nil || !strings.HasPrefix(v, "ClamAV ") {
			t.Fatalf("%s: ping: %q, %v", addr, v, err)
		}
		sees(t, s, scan.Plain, scan.Archive, scan.Depth)
		contents := make([][]byte, 16)
		var files []scan.File
		for i := range contents {
			contents[i] = make([]byte, 1000*i)
			rand.Read(contents[i])
			if i%5 == 3 {
				contents[i] = append(contents[i], scantest.EICAR()...)
			}
			files = append(files, open(t, contents[i]))
		}
		for i, a := range judge(t, s, files...) {
			want := scan.Answer{Verdict: scan.Clean}
			if i%5 == 3 {
				want = scan.Answer{Verdict: scan.Malicious, Signature: "Lab.Eicar.Body.UNOFFICIAL"}
			}
			if bare(a) != want {
				t.Errorf("%s: file %d: %+v, want %+v", addr, i, a, want)
			}
			if alone := bare(judge(t, s, files[i])[0]); alone != want {
				t.Errorf("%s: file %d alone: %+v, want %+v", addr, i, alone, want)
			}
		}
	}
}

func TestRealStreamLimit(t *testing.T) {
	c := scantest.Clamd(t, "StreamMaxLength 1M")
	s := asks(t, time.Minute, c.TCPAddr)
	big := open(t, make([]byte, 16<<20))
	want := scan.Answer{Verdict: scan.Unscanned, Reason: scan.ReasonStreamLimit}
	for range 20 { // the reply must survive the reset that follows it
		if a := bare(judge(t, s, big)[0]); a != want {
			t.Errorf("alone: %+v", a)
		}
	}
	for _, a := range judge(t, s, open(t, []byte("good")), big) {
		wantKind(t, a, scan.Void)
	}
	exact := open(t, make([]byte, 1<<20))
	if a := judge(t, s, exact)[0]; a.Verdict != scan.Clean {
		t.Errorf("at the limit: %+v", a)
	}
}

func TestRealLimitsExceeded(t *testing.T) {
	content := append(make([]byte, 2<<20), scantest.EICAR()...)
	f := open(t, content)
	told := scantest.Clamd(t, "MaxFileSize 1M", "AlertExceedsMax yes")
	quiet := scantest.Clamd(t, "MaxFileSize 1M")
	for _, addr := range []string{told.UnixAddr, told.TCPAddr} {
		a := judge(t, asks(t, time.Minute, addr), f)[0]
		if a.Verdict != scan.Unscanned || a.Reason != scan.ReasonLimit || !strings.HasPrefix(a.Signature, "Heuristics.Limits.Exceeded") {
			t.Errorf("%s: %+v", addr, a)
		}
	}
	s, err := clamd.New(scan.Config{Addresses: []string{quiet.UnixAddr}, MaxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if a := judge(t, s, f)[0]; a.Verdict != scan.Unscanned || a.Reason != scan.ReasonTooBig {
		t.Errorf("said OK to what it did not look into: %+v", a)
	}
}

func TestRealKilled(t *testing.T) {
	c := scantest.Clamd(t)
	for _, addr := range []string{c.UnixAddr, c.TCPAddr} {
		s := asks(t, time.Minute, addr)
		f := open(t, bytes.Repeat([]byte("some text to look at "), 100_000))
		pulled := 0
		answers := s.Scan(t.Context(), func(yield func(scan.File) bool) {
			for pulled < 16 {
				if pulled++; pulled == 8 {
					c.Kill()
				}
				if !yield(f) {
					return
				}
			}
		})
		check(t, answers)
		if len(answers) != pulled || pulled < 8 {
			t.Errorf("%s: %d answers to %d files", addr, len(answers), pulled)
		}
		for _, a := range answers { // Down: clamd died before it took the first file
			wantKind(t, a, scan.Void, scan.Down)
		}
		wantKind(t, judge(t, s, f)[0], scan.Down)
		if _, err := s.Ping(t.Context()); err == nil {
			t.Errorf("%s: ping of the dead", addr)
		}
		c.Restart()
		if a := judge(t, s, f)[0]; a.Verdict != scan.Clean {
			t.Errorf("%s: after a restart: %+v", addr, a)
		}
	}
}

func TestRealStopped(t *testing.T) {
	c := scantest.Clamd(t)
	for _, addr := range []string{c.UnixAddr, c.TCPAddr} {
		s := asks(t, 300*time.Millisecond, addr)
		f := open(t, []byte("good"))
		c.Stop()
		wantKind(t, judge(t, s, f)[0], scan.Down)
		for _, a := range judge(t, s, f, f) {
			wantKind(t, a, scan.Down)
		}
		if _, err := s.Ping(t.Context()); err == nil {
			t.Errorf("%s: ping of one that hangs", addr)
		}
		c.Cont()
		if a := judge(t, asks(t, time.Minute, addr), f)[0]; a.Verdict != scan.Clean {
			t.Errorf("%s: continued: %+v", addr, a)
		}
		// In the middle of a session: the first file is answered or under way.
		answers := s.Scan(t.Context(), func(yield func(scan.File) bool) {
			if yield(f) {
				c.Stop()
				yield(f)
			}
		})
		c.Cont()
		for _, a := range answers {
			if len(answers) == 2 {
				wantKind(t, a, scan.Void, scan.Down)
			}
		}
	}
}

func TestRealIdle(t *testing.T) {
	c := scantest.Clamd(t, "CommandReadTimeout 1", "ReadTimeout 1")
	s := asks(t, time.Minute, c.TCPAddr)
	f := open(t, []byte("good"))
	answers := s.Scan(t.Context(), func(yield func(scan.File) bool) {
		yield(f)
		<-time.After(2500 * time.Millisecond) // longer than clamd waits
	})
	wantKind(t, answers[0], scan.Busy)
	if got := judge(t, s, slices.Repeat([]scan.File{f}, 3)...); got[0].Verdict != scan.Clean {
		t.Errorf("afterwards: %+v", got)
	}
}
