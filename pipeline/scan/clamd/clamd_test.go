// SPDX-License-Identifier: Apache-2.0

package clamd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/clamd"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

const marker = "this-is-the-marker"

// open returns an open file of this content.
func open(t testing.TB, content []byte) scan.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return scan.File{F: f, Size: int64(len(content)), SHA256: sha256.Sum256(content)}
}

func asks(t testing.TB, timeout time.Duration, addresses ...string) scan.Scanner {
	t.Helper()
	s, err := clamd.New(scan.Config{Addresses: addresses, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func judge(t testing.TB, s scan.Scanner, files ...scan.File) []scan.Answer {
	t.Helper()
	answers := s.Scan(t.Context(), slices.Values(files))
	check(t, answers)
	return answers
}

// bare returns an answer without what names its scanner and its bytes.
func bare(a scan.Answer) scan.Answer {
	a.Key, a.Address, a.Version, a.SHA256 = "", "", "", [32]byte{}
	return a
}

// sees fails the test unless s sees these canaries.
func sees(t testing.TB, s scan.Scanner, canaries ...scan.Canary) {
	t.Helper()
	for _, canary := range canaries {
		shown, err := scan.Canaries{Dir: t.TempDir()}.Ask(t.Context(), s, canary, 1<<20)
		if err != nil || !shown.Sees {
			t.Errorf("%s: %+v, %v", canary, shown, err)
		}
	}
}

// check fails the test unless each answer is either a verdict or an error.
func check(t testing.TB, answers []scan.Answer) {
	t.Helper()
	for i, a := range answers {
		if (a.Verdict == "") == (a.Err == nil) {
			t.Errorf("answer %d is neither or both: %+v", i, a)
		}
	}
}

func wantKind(t testing.TB, a scan.Answer, kinds ...scan.Kind) {
	t.Helper()
	if a.Verdict != "" {
		t.Errorf("verdict %q %q, want %v", a.Verdict, a.Reason, kinds)
		return
	}
	if !slices.Contains(kinds, a.Err.Kind) {
		t.Errorf("failure %v, want %v", a.Err, kinds)
	}
}

func TestProper(t *testing.T) {
	for _, network := range scantest.Networks() {
		t.Run(network, func(t *testing.T) {
			server := scantest.Start(t, network)
			server.SetMarker(marker)
			s := asks(t, time.Minute, server.Addr())
			version, err := s.Ping(t.Context())
			if err != nil || version != "ClamAV 1.4.3/27000/scantest" {
				t.Fatalf("ping: %q, %v", version, err)
			}
			big := bytes.Repeat([]byte("0123456789abcdef"), 70_001)
			contents := [][]byte{
				[]byte("hello"), scantest.EICAR(), {}, append(slices.Clone(big), marker...), big,
				bytes.Repeat([]byte("z"), 256<<10), bytes.Repeat([]byte("z"), 256<<10-14), bytes.Repeat([]byte("z"), 256<<10-18), bytes.Repeat([]byte("z"), 512<<10-22),
			}
			var files []scan.File
			for _, c := range contents {
				files = append(files, open(t, c))
			}
			for _, f := range files { // alone
				if a := judge(t, s, f)[0]; a.Err != nil {
					t.Fatal(a.Err)
				}
			}
			answers := judge(t, s, files...)
			for i, a := range answers {
				want := scan.Answer{Verdict: scan.Clean}
				switch i {
				case 1:
					want = scan.Answer{Verdict: scan.Malicious, Signature: "Scantest.Eicar"}
				case 3:
					want = scan.Answer{Verdict: scan.Malicious, Signature: "Scantest.Marker"}
				}
				if bare(a) != want {
					t.Errorf("file %d: %+v, want %+v", i, a, want)
				}
				if n := server.Count(contents[i]); n != 2 {
					t.Errorf("file %d came whole %d times", i, n)
				}
			}
			sees(t, s, scan.Plain, scan.Archive, scan.Encrypted, scan.Depth)
			if got := s.Scan(t.Context(), slices.Values[[]scan.File](nil)); len(got) != 0 {
				t.Errorf("answers to nothing: %v", got)
			}
		})
	}
}

func TestOverlap(t *testing.T) {
	server := scantest.Start(t, scantest.Networks()[0])
	server.SetDelay(20 * time.Millisecond)
	s := asks(t, time.Minute, server.Addr())
	var files []scan.File
	for i := range 16 {
		files = append(files, open(t, bytes.Repeat([]byte{byte(i)}, 100)))
	}
	files[7] = open(t, scantest.EICAR())
	for i, a := range judge(t, s, files...) {
		if (a.Verdict == scan.Malicious) != (i == 7) || a.Err != nil {
			t.Errorf("file %d: %+v", i, a)
		}
	}
	if n := server.Sessions(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// TestMisbehaviour: no misbehaviour leads to a verdict, for a file alone or among
// others; the kind of the failure is as the table says.
func TestMisbehaviour(t *testing.T) {
	cases := map[scantest.Behaviour]struct {
		name  string
		alone []scan.Kind
		among []scan.Kind
	}{
		scantest.Refuse:      {"refuse", []scan.Kind{scan.Down}, []scan.Kind{scan.Down}},
		scantest.Reset:       {"reset", []scan.Kind{scan.Down}, []scan.Kind{scan.Down}},
		scantest.Close:       {"close", []scan.Kind{scan.Down}, []scan.Kind{scan.Down}},
		scantest.Mute:        {"mute", []scan.Kind{scan.Down}, []scan.Kind{scan.Down}},
		scantest.Hang:        {"hang", []scan.Kind{scan.Refused}, []scan.Kind{scan.Void}},
		scantest.Drop:        {"drop", []scan.Kind{scan.Refused}, []scan.Kind{scan.Void}},
		scantest.Drip:        {"drip", []scan.Kind{scan.Down}, []scan.Kind{scan.Down}},
		scantest.Garbage:     {"garbage", []scan.Kind{scan.Unclear}, []scan.Kind{scan.Void}},
		scantest.HangUp:      {"hang up", []scan.Kind{scan.Unclear}, []scan.Kind{scan.Void}},
		scantest.Early:       {"early", []scan.Kind{scan.Unclear}, []scan.Kind{scan.Void}},
		scantest.Flood:       {"flood", []scan.Kind{scan.Unclear}, []scan.Kind{scan.Void}},
		scantest.Duplicate:   {"duplicate", []scan.Kind{scan.Unclear}, []scan.Kind{scan.Void}},
		scantest.Alien:       {"alien", []scan.Kind{scan.Unclear}, []scan.Kind{scan.Void}},
		scantest.Extra:       {"extra", []scan.Kind{scan.Unclear}, []scan.Kind{scan.Void}},
		scantest.Torn:        {"torn", []scan.Kind{scan.Unclear}, []scan.Kind{scan.Void}},
		scantest.ReadTimeout: {"read timeout", []scan.Kind{scan.Busy}, []scan.Kind{scan.Void}},
		scantest.Fail:        {"fail", []scan.Kind{scan.Refused}, []scan.Kind{scan.Refused}},
		scantest.Sick:        {"sick", []scan.Kind{scan.Sick}, []scan.Kind{scan.Sick}},
	}
	for _, way := range append(scantest.Networks(), scantest.Networks()[0]+" keyed") {
		for behaviour, c := range cases {
			network, isKeyed := strings.CutSuffix(way, " keyed")
			if behaviour == scantest.Early && network == "unix" {
				continue // a reply about a descriptor is never early
			}
			t.Run(way+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				server := scantest.Start(t, network)
				timeout, size := time.Minute, 300<<10
				switch behaviour {
				case scantest.Mute, scantest.Hang, scantest.Drip:
					timeout = 500 * time.Millisecond
				case scantest.Early:
					size = 16 << 20 // more than any socket takes unread
				}
				s := asks(t, timeout, server.Addr())
				if isKeyed {
					s = keyed(t, server.Addr(), timeout)
				}
				server.Set(behaviour)
				content := make([]byte, size)
				files := []scan.File{open(t, content), open(t, content)}
				alone := judge(t, s, files[0])
				if len(alone) != 1 {
					t.Fatalf("%d answers", len(alone))
				}
				wantKind(t, alone[0], c.alone...)
				// If the session failed after its first file, it held that one alone.
				switch among := judge(t, s, files...); len(among) {
				case 1:
					wantKind(t, among[0], c.alone...)
				case 2:
					for _, a := range among {
						wantKind(t, a, c.among...)
					}
				default:
					t.Fatalf("%d answers", len(among))
				}
				server.Set(scantest.Proper)
				if a := judge(t, asks(t, time.Minute, server.Addr()), files[0])[0]; a.Verdict != scan.Clean {
					t.Errorf("after it behaves again: %+v", a)
				}
			})
		}
	}
}

// TestSessionVoid: a file whose session crashes over another file has no verdict, even
// if it was answered.
func TestSessionVoid(t *testing.T) {
	for _, network := range scantest.Networks() {
		server := scantest.Start(t, network)
		server.SetCrashOn("crash")
		s := asks(t, time.Minute, server.Addr())
		answers := judge(t, s, open(t, []byte("good")), open(t, []byte("a crash")))
		if len(answers) != 2 {
			t.Fatalf("%d answers", len(answers))
		}
		for _, a := range answers {
			wantKind(t, a, scan.Void)
		}
		wantKind(t, judge(t, s, open(t, []byte("a crash")))[0], scan.Refused)
		if a := judge(t, s, open(t, []byte("good")))[0]; a.Verdict != scan.Clean {
			t.Errorf("alone: %+v", a)
		}
	}
}

func TestErrorOfOne(t *testing.T) {
	for _, network := range scantest.Networks() {
		server := scantest.Start(t, network)
		server.SetFailOn("fail")
		s := asks(t, time.Minute, server.Addr())
		answers := judge(t, s, open(t, []byte("good")), open(t, []byte("fail")), open(t, scantest.EICAR()))
		if answers[0].Verdict != scan.Clean || answers[2].Verdict != scan.Malicious {
			t.Errorf("the others: %+v", answers)
		}
		wantKind(t, answers[1], scan.Refused)
	}
}

func TestStreamMax(t *testing.T) {
	server := scantest.Start(t, "tcp")
	server.SetStreamMax(1 << 20)
	s := asks(t, time.Minute, server.Addr())
	big := open(t, make([]byte, 8<<20))
	want := scan.Answer{Verdict: scan.Unscanned, Reason: scan.ReasonStreamLimit}
	if a := bare(judge(t, s, big)[0]); a != want {
		t.Errorf("alone: %+v", a)
	}
	for _, a := range judge(t, s, open(t, []byte("good")), big) {
		wantKind(t, a, scan.Void)
	}
}

func TestMaxSize(t *testing.T) {
	server := scantest.Start(t, "tcp")
	server.SetMarker(marker)
	s, err := clamd.New(scan.Config{Addresses: []string{server.Addr()}, MaxSize: 100})
	if err != nil {
		t.Fatal(err)
	}
	bad := append(make([]byte, 100), marker...)
	answers := judge(t, s, open(t, make([]byte, 100)), open(t, make([]byte, 101)), open(t, bad))
	want := []scan.Answer{{Verdict: scan.Clean}, {Verdict: scan.Unscanned, Reason: scan.ReasonTooBig}, {Verdict: scan.Malicious, Signature: "Scantest.Marker"}}
	if !slices.EqualFunc(answers, want, func(a, b scan.Answer) bool { return bare(a) == b }) {
		t.Errorf("%+v", answers)
	}
}

func TestUnread(t *testing.T) {
	server := scantest.Start(t, "tcp")
	s := asks(t, time.Minute, server.Addr())
	shrank := open(t, make([]byte, 1000))
	shrank.Size = 2000
	wantKind(t, judge(t, s, shrank)[0], scan.Unread)
	closed := open(t, make([]byte, 1000))
	closed.F.Close()
	wantKind(t, judge(t, s, closed)[0], scan.Unread)
	for _, a := range judge(t, s, open(t, []byte("good")), shrank) {
		wantKind(t, a, scan.Void)
	}
	for _, r := range server.Received() {
		if r.Size != 4 {
			t.Errorf("a short file of %d bytes was ended", r.Size)
		}
	}
	grew := open(t, []byte("0123456789"))
	grew.Size = 5
	if a := judge(t, s, grew)[0]; a.Verdict != scan.Clean || server.Count([]byte("01234")) != 1 {
		t.Errorf("a file that grew: %+v", a)
	}
}

func TestAddresses(t *testing.T) {
	one, two := scantest.Start(t, "tcp"), scantest.Start(t, "tcp")
	two.SetVersion("ClamAV 2")
	s := asks(t, time.Minute, one.Addr(), two.Addr())
	f := open(t, []byte("good"))
	for range 8 {
		judge(t, s, f)
	}
	if one.Count([]byte("good")) != 4 || two.Count([]byte("good")) != 4 {
		t.Errorf("batches are not spread: %d and %d", one.Count([]byte("good")), two.Count([]byte("good")))
	}
	if v, err := s.Ping(t.Context()); err != nil || v != "ClamAV 1.4.3/27000/scantest, ClamAV 2" {
		t.Errorf("ping: %q, %v", v, err)
	}
	one.Set(scantest.Refuse)
	for range 4 {
		if a := judge(t, s, f)[0]; a.Verdict != scan.Clean {
			t.Errorf("with one gone: %+v", a)
		}
	}
	if v, err := s.Ping(t.Context()); err != nil || v != "ClamAV 2" {
		t.Errorf("ping with one gone: %q, %v", v, err)
	}
	two.Set(scantest.Refuse)
	wantKind(t, judge(t, s, f)[0], scan.Down)
}

// TestKey: there is a key only if each address tells the same database.
func TestKey(t *testing.T) {
	one, two := scantest.Start(t, "tcp"), scantest.Start(t, "tcp")
	const good = "ClamAV 1.4.3/27000/scantest"
	alone, both := asks(t, time.Minute, one.Addr()), asks(t, time.Minute, one.Addr(), two.Addr())
	want := func(s scan.Scanner, want, when string) {
		t.Helper()
		if key := s.Key(t.Context()); key != want {
			t.Errorf("%s: %q, want %q", when, key, want)
		}
	}
	want(alone, good, "one")
	want(both, good, "two alike")
	two.SetVersion("ClamAV 1.4.3/26999/scantest")
	want(both, "", "two that differ")
	two.Set(scantest.Refuse)
	want(both, "", "one is down, and may be back with older signatures")
	for _, version := range []string{"ClamAV 1.4.3", "ClamAV 1.4.3/", "ClamAV 1.4.3/0/x", "ClamAV 1.4.3/abc/x", "ClamAV 1.4.3/27000", "COMMAND UNAVAILABLE"} {
		one.SetVersion(version)
		want(alone, "", version)
	}
	one.Set(scantest.Refuse)
	want(alone, "", "down")
}

func TestPingFails(t *testing.T) {
	for behaviour, want := range map[scantest.Behaviour]scan.Kind{
		scantest.Refuse: scan.Down, scantest.Reset: scan.Down, scantest.Close: scan.Down,
		scantest.Mute: scan.Down, scantest.Drip: scan.Down,
	} {
		server := scantest.Start(t, "tcp")
		server.Set(behaviour)
		_, err := asks(t, 200*time.Millisecond, server.Addr()).Ping(t.Context())
		f, ok := errors.AsType[*scan.Failure](err)
		if !ok || f.Kind != want {
			t.Errorf("behaviour %d: %v", behaviour, err)
		}
	}
	server := scantest.Start(t, "tcp")
	server.SetVersion("COMMAND UNAVAILABLE")
	if v, err := asks(t, time.Minute, server.Addr()).Ping(t.Context()); v != "" || err != nil {
		t.Errorf("version switched off: %q, %v", v, err)
	}
}

func TestContext(t *testing.T) {
	server := scantest.Start(t, "tcp")
	server.Set(scantest.Hang)
	s := asks(t, time.Minute, server.Addr())
	f := open(t, []byte("good"))
	ctx, cancel := context.WithCancel(t.Context())
	pulled := 0
	answers := s.Scan(ctx, func(yield func(scan.File) bool) {
		for {
			if pulled++; pulled == 3 {
				cancel()
			}
			if !yield(f) {
				return
			}
		}
	})
	check(t, answers)
	if len(answers) != pulled {
		t.Errorf("%d answers to %d files", len(answers), pulled)
	}
	for _, a := range answers {
		wantKind(t, a, scan.Void, scan.Down)
	}
	for _, a := range s.Scan(ctx, slices.Values([]scan.File{f})) {
		wantKind(t, a, scan.Void, scan.Down)
	}
	if _, err := s.Ping(ctx); err == nil {
		t.Error("ping with an ended context")
	}
}

// TestSlowPull: a pull may take longer than the timeout while clamd owes no answer.
func TestSlowPull(t *testing.T) {
	server := scantest.Start(t, "tcp")
	s := asks(t, 100*time.Millisecond, server.Addr())
	f := open(t, []byte("good"))
	var slow iter.Seq[scan.File] = func(yield func(scan.File) bool) {
		for range 2 {
			if !yield(f) {
				t.Error("not pulled on")
				return
			}
			<-time.After(300 * time.Millisecond)
		}
	}
	for _, a := range s.Scan(t.Context(), slow) {
		if a.Verdict != scan.Clean {
			t.Errorf("%+v", a)
		}
	}
}

func TestBlind(t *testing.T) {
	server := scantest.Start(t, scantest.Networks()[0])
	s := asks(t, time.Minute, server.Addr())
	server.Set(scantest.Blind)
	plain := func() (scan.Shown, error) { return scan.Canaries{}.Ask(t.Context(), s, scan.Plain, 0) }
	if shown, err := plain(); err != nil || !errors.Is(shown.Why, scan.ErrBlind) {
		t.Errorf("blind: %+v, %v", shown, err)
	}
	server.Set(scantest.Proper)
	server.SetMarker("certpush asks")
	if shown, err := plain(); err != nil || !errors.Is(shown.Why, scan.ErrAlarm) {
		t.Errorf("alarmed: %+v, %v", shown, err)
	}
	server.Set(scantest.Refuse)
	_, err := plain()
	if f, ok := errors.AsType[*scan.Failure](err); !ok || f.Kind != scan.Down {
		t.Errorf("down: %v", err)
	}
}
