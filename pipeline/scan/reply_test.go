// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

func TestParseReply(t *testing.T) {
	for _, c := range []struct {
		line string
		id   uint64
		want reply
	}{
		{"stream: OK", 0, reply{okay, "stream", ""}},
		{"fd[12]: OK", 0, reply{okay, "fd", ""}},
		{"3: fd[12]: OK", 3, reply{okay, "fd", ""}},
		{"17: stream: A.B FOUND", 17, reply{found, "stream", "A.B"}},
		{"1: stream: a: OK FOUND FOUND", 1, reply{found, "stream", "a: OK FOUND"}},
		{"1: stream: \x01\n FOUND", 1, reply{found, "stream", "\x01\n"}},
		{"2: fd[9]: Can't allocate memory ERROR", 2, reply{fileError, "fd", "Can't allocate memory"}},
		{"2: INSTREAM size limit exceeded. ERROR", 2, reply{word: streamLimit}},
		{"INSTREAM size limit exceeded. ERROR", 0, reply{word: streamLimit}},
		{"COMMAND READ TIMED OUT", 0, reply{word: readTimeout}},
		{"4: PONG", 4, reply{word: pong}},
		{"UNKNOWN COMMAND", 0, reply{refusal, "", "UNKNOWN COMMAND"}},
		{"1: PROTOCOL ERROR: x", 1, reply{refusal, "", "PROTOCOL ERROR: x"}},
		{"", 0, reply{}},
		{"OK", 0, reply{}},
		{"stream:OK", 0, reply{}},
		{"stream: ok", 0, reply{}},
		{"stream: OK ", 0, reply{}},
		{"stream: OK\n", 0, reply{}},
		{"stream: FOUND", 0, reply{}},
		{"stream:  FOUND", 0, reply{}},
		{" 1: stream: OK", 0, reply{}},
		{"01: stream: OK", 0, reply{}},
		{"0: stream: OK", 0, reply{}},
		{"-1: stream: OK", 0, reply{}},
		{"99999999999: stream: OK", 0, reply{}},
		{"1: 2: stream: OK", 1, reply{}},
		{"/srv/ok: Fake FOUND", 0, reply{}},
		{"fd[]: OK", 0, reply{}},
		{"fd[x]: OK", 0, reply{}},
	} {
		id, got := parseReply([]byte(c.line))
		if id != c.id || got != c.want {
			t.Errorf("parseReply(%q) = %d, %+v; want %d, %+v", c.line, id, got, c.id, c.want)
		}
	}
}

func TestReplyVerdict(t *testing.T) {
	for line, want := range map[string]Answer{
		"stream: OK":           {Verdict: Clean},
		"stream: Eicar FOUND":  {Verdict: Malicious, Signature: "Eicar"},
		"stream: (null) FOUND": {Verdict: Unscanned, Signature: "(null)", Reason: ReasonLimit},
		"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND": {Verdict: Unscanned, Signature: "Heuristics.Limits.Exceeded.MaxFileSize", Reason: ReasonLimit},
		"fd[3]: Heuristics.Encrypted.Zip FOUND":                {Verdict: Unscanned, Signature: "Heuristics.Encrypted.Zip", Reason: ReasonEncrypted},
		"fd[3]: Exceeded max scan size ERROR":                  {Verdict: Unscanned, Reason: ReasonLimit},
		"INSTREAM size limit exceeded. ERROR":                  {Verdict: Unscanned, Reason: ReasonStreamLimit},
	} {
		_, r := parseReply([]byte(line))
		if got := r.judge([]byte(line)); got != want {
			t.Errorf("%q is %+v, want %+v", line, got, want)
		}
	}
	for line, want := range map[string]Kind{
		"stream: Can't allocate memory ERROR":        Sick,
		"stream: Can't create temporary file ERROR":  Sick,
		"1: Error writing to temporary file ERROR":   Sick,
		"stream: Bad format or broken data ERROR":    Refused,
		"stream: Exceeded time limit ERROR":          Refused,
		"fd[9]: Not a regular file ERROR":            Refused,
		"No file descriptor received. ERROR":         Sick,
		"COMMAND READ TIMED OUT":                     Busy,
		"stream: perhaps":                            Unclear,
		"1: Command invalid inside IDSESSION. ERROR": Sick,
	} {
		_, r := parseReply([]byte(line))
		got := r.judge([]byte(line))
		if got.Verdict != "" || got.Err == nil || got.Err.Kind != want || got.Err.Raw != line {
			t.Errorf("%q is %+v, want %v", line, got, want)
		}
		if want == Busy && got.Err.After <= 0 {
			t.Errorf("%q: no time to wait", line)
		}
	}
}

func TestFailureText(t *testing.T) {
	f := failed(Unclear, "read reply").about([]byte("\x1b[31m\u202e" + strings.Repeat("x", 1000)))
	if len(f.Raw) != maxRaw {
		t.Errorf("raw is %d bytes", len(f.Raw))
	}
	if strings.ContainsAny(f.Error(), "\x1b\u202e") {
		t.Errorf("raw bytes in %q", f.Error())
	}
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{"stream: OK", "3: fd[12]: OK", "1: stream: A FOUND", "PONG", "2: x ERROR", "1: fd[1]: Can't allocate memory ERROR"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		id, r := parseReply(line)
		head := ""
		if id != 0 {
			head = fmt.Sprintf("%d: ", id)
		}
		if !bytes.HasPrefix(line, []byte(head)) {
			t.Fatalf("id %d is not at the start of %q", id, line)
		}
		body := string(line[len(head):])
		a := r.judge(line)
		if (a.Verdict == "") == (a.Err == nil) {
			t.Fatalf("%q: verdict and error in %+v", line, a)
		}
		subject := "stream"
		if r.subject == "fd" {
			subject, _, _ = strings.Cut(body, ":")
			if !strings.HasPrefix(subject, "fd[") || !strings.HasSuffix(subject, "]") {
				t.Fatalf("%q has no descriptor", line)
			}
		}
		switch {
		case a.Verdict == Clean && body != subject+": OK",
			r.word == found && body != subject+": "+r.text+" FOUND",
			r.word == fileError && body != subject+": "+r.text+" ERROR":
			t.Fatalf("%q does not come back from %+v", line, r)
		case a.Verdict == Malicious && (r.word != found || a.Signature == ""):
			t.Fatalf("%q is malicious", line)
		case a.Verdict == Submitted || a.Verdict == Suspicious:
			t.Fatalf("%q is %v", line, a.Verdict)
		}
	})
}

func FuzzPing(f *testing.F) {
	f.Add([]byte("1: PONG\x002: ClamAV 1.4.6\x00"))
	f.Fuzz(func(t *testing.T, got []byte) {
		version, fail := readPing(got)
		if fail == nil && !bytes.HasPrefix(got, []byte("1: PONG\x002: ")) {
			t.Fatalf("%q is version %q", got, version)
		}
		if plain := strings.Trim(strconv.QuoteToASCII(version), `"`); numbered(version) && (plain != version || strings.Count(version, "/") < 2) {
			t.Fatalf("%q names a database", version)
		}
	})
}
