// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/certpush/certpush/pipeline/scan"
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
	for line, want := range map[string]scan.Answer{
		"stream: OK":           {Verdict: scan.Clean},
		"stream: Eicar FOUND":  {Verdict: scan.Malicious, Signature: "Eicar"},
		"stream: (null) FOUND": {Verdict: scan.Unscanned, Signature: "(null)", Reason: scan.ReasonLimit},
		"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND": {Verdict: scan.Unscanned, Signature: "Heuristics.Limits.Exceeded.MaxFileSize", Reason: scan.ReasonLimit},
		"fd[3]: Heuristics.Encrypted.Zip FOUND":                {Verdict: scan.Unscanned, Signature: "Heuristics.Encrypted.Zip", Reason: scan.ReasonEncrypted},
		"fd[3]: Exceeded max scan size ERROR":                  {Verdict: scan.Unscanned, Reason: scan.ReasonLimit},
		"INSTREAM size limit exceeded. ERROR":                  {Verdict: scan.Unscanned, Reason: scan.ReasonStreamLimit},
	} {
		_, r := parseReply([]byte(line))
		if got := r.judge([]byte(line)); got != want {
			t.Errorf("%q is %+v, want %+v", line, got, want)
		}
	}
	for line, want := range map[string]scan.Kind{
		"stream: Can't allocate memory ERROR":        scan.Sick,
		"stream: Can't create temporary file ERROR":  scan.Sick,
		"1: Error writing to temporary file ERROR":   scan.Sick,
		"stream: Bad format or broken data ERROR":    scan.Refused,
		"stream: Exceeded time limit ERROR":          scan.Refused,
		"fd[9]: Not a regular file ERROR":            scan.Refused,
		"fd[9]: Can't access file ERROR":             scan.Refused,
		"No file descriptor received. ERROR":         scan.Sick,
		"COMMAND READ TIMED OUT":                     scan.Busy,
		"stream: perhaps":                            scan.Unclear,
		"1: Command invalid inside IDSESSION. ERROR": scan.Sick,
	} {
		_, r := parseReply([]byte(line))
		got := r.judge([]byte(line))
		if got.Verdict != "" || got.Err == nil || got.Err.Kind != want || got.Err.Raw != line {
			t.Errorf("%q is %+v, want %v", line, got, want)
		}
		if is := errors.Is(got.Err, scan.ErrDenied); is != strings.Contains(line, "access") {
			t.Errorf("%q is taken for a denial: %v", line, is)
		}
		if want == scan.Busy && got.Err.After <= 0 {
			t.Errorf("%q: no time to wait", line)
		}
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
		case a.Verdict == scan.Clean && body != subject+": OK",
			r.word == found && body != subject+": "+r.text+" FOUND",
			r.word == fileError && body != subject+": "+r.text+" ERROR":
			t.Fatalf("%q does not come back from %+v", line, r)
		case a.Verdict == scan.Malicious && (r.word != found || a.Signature == ""):
			t.Fatalf("%q is malicious", line)
		case a.Verdict == scan.Submitted || a.Verdict == scan.Suspicious:
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
