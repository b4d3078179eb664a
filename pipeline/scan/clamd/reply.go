// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
)

// word is the kind of a reply.
type word int

const (
	unknown     word = iota // the grammar does not know it
	pong                    // PONG
	okay                    // <subject>: OK
	found                   // <subject>: <name> FOUND
	fileError               // <subject>: <text> ERROR
	streamLimit             // INSTREAM size limit exceeded. ERROR
	refusal                 // clamd did not carry out the command
	readTimeout             // COMMAND READ TIMED OUT
)

// reply is one reply of clamd, taken apart.
type reply struct {
	word    word
	subject string // "stream", or "fd" for fd[N]
	text    string // found: the signature; fileError: the error; refusal: all of it
}

const (
	timedOut     = "COMMAND READ TIMED OUT"
	noDescriptor = "No file descriptor received. ERROR"
)

// standing reads a reply that has no subject. Such a reply is never about the content
// of a file. With false it is not one.
func standing(body string) (reply, bool) {
	switch body {
	case "PONG":
		return reply{word: pong}, true
	case "INSTREAM size limit exceeded. ERROR":
		return reply{word: streamLimit}, true
	case timedOut:
		return reply{word: readTimeout}, true
	case noDescriptor,
		"Error processing command. ERROR",
		"Error writing to temporary file ERROR",
		"Command invalid inside IDSESSION. ERROR",
		"UNKNOWN COMMAND",
		"COMMAND UNAVAILABLE",
		"COMMAND UNAVAILABLE. ERROR":
		return reply{word: refusal, text: body}, true
	}
	if strings.HasPrefix(body, "PROTOCOL ERROR: ") {
		return reply{word: refusal, text: body}, true
	}
	return reply{}, false
}

// parseReply takes apart one reply, which has lost its terminator. The id is 0 if the
// reply has none. A reply that is not exactly in the grammar has the word unknown.
func parseReply(line []byte) (id uint64, r reply) {
	body := line
	if n, rest, ok := cutID(line); ok {
		id, body = n, rest
	}
	text := string(body)
	if r, ok := standing(text); ok {
		return id, r
	}
	subject, rest, ok := cutSubject(text)
	if !ok {
		return id, reply{}
	}
	if rest == "OK" {
		return id, reply{word: okay, subject: subject}
	}
	// A name may hold any byte, so only the end of the reply can be relied on.
	if name, ok := strings.CutSuffix(rest, " FOUND"); ok && name != "" {
		return id, reply{word: found, subject: subject, text: name}
	}
	if name, ok := strings.CutSuffix(rest, " ERROR"); ok && name != "" {
		return id, reply{word: fileError, subject: subject, text: name}
	}
	return id, reply{}
}

// cutID splits "<id>: " off a reply. An id is as clamd writes it: decimal, from 1,
// without a sign or a leading zero.
func cutID(line []byte) (id uint64, rest []byte, ok bool) {
	head, rest, ok := bytes.Cut(line, []byte(": "))
	if !ok || len(head) == 0 || len(head) > 10 || head[0] == '0' || !digits(head) {
		return 0, nil, false
	}
	id, err := strconv.ParseUint(string(head), 10, 32)
	return id, rest, err == nil
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// cutSubject splits "stream: " or "fd[N]: " off the body of a reply.
func cutSubject(body string) (subject, rest string, ok bool) {
	if rest, ok = strings.CutPrefix(body, "stream: "); ok {
		return "stream", rest, true
	}
	rest, ok = strings.CutPrefix(body, "fd[")
	if !ok {
		return "", "", false
	}
	number, rest, ok := strings.Cut(rest, "]: ")
	if !ok || !digits([]byte(number)) {
		return "", "", false
	}
	return "fd", rest, true
}

// readPing reads the replies to PING and VERSION, the first two commands of a session.
// The version is empty if clamd refuses to tell it.
func readPing(got []byte) (string, *scan.Failure) {
	first, rest, ok := bytes.Cut(got, []byte{0})
	if string(got) == timedOut+"\n" {
		return "", reply{word: readTimeout}.judge(got).Err
	}
	if !ok {
		if len(got) > 0 && !strings.HasPrefix("1: PONG", string(got)) {
			return "", scan.Failed(scan.Unclear, "ping clamd: the reply is not in the grammar").About(got)
		}
		return "", scan.Failed(scan.Down, "no reply")
	}
	id, r := parseReply(first)
	if r.word == refusal {
		return "", r.judge(first).Err
	}
	second, rest, ok := bytes.Cut(rest, []byte{0})
	if id != 1 || r.word != pong || ok && len(rest) > 0 {
		return "", scan.Failed(scan.Unclear, "ping clamd: the reply is not PONG").About(got)
	}
	if !ok {
		return "", scan.Failed(scan.Down, "no version")
	}
	id, body, ok := cutID(second)
	if !ok || id != 2 || len(body) == 0 || len(body) > maxVersion {
		return "", scan.Failed(scan.Unclear, "ping clamd: the reply is no version").About(second)
	}
	// Since 1.5 an operator can switch VERSION off.
	if _, known := standing(string(body)); known {
		return "", nil
	}
	return string(body), nil
}

// numbered reports whether a version names its database: PROGRAM/NUMBER/TIME, in
// printable ASCII, with a number that is not 0.
func numbered(version string) bool {
	if strings.ContainsFunc(version, func(r rune) bool { return r < ' ' || r > '~' }) {
		return false
	}
	program, rest, _ := strings.Cut(version, "/")
	number, when, _ := strings.Cut(rest, "/")
	return program != "" && number != "0" && digits([]byte(number)) && when != ""
}

// judge turns a reply into the answer for the file that it is about.
func (r reply) judge(raw []byte) scan.Answer {
	switch r.word {
	case okay:
		return scan.Answer{Verdict: scan.Clean}
	case found:
		return foundAnswer(r.text)
	case fileError:
		return errorAnswer(r.text, raw)
	case streamLimit:
		return scan.Answer{Verdict: scan.Unscanned, Reason: scan.ReasonStreamLimit}
	case refusal:
		if r.text == noDescriptor {
			return scan.Answer{Err: scan.Failed(scan.Sick, "ask clamd: %w: AppArmor or SELinux may keep the files of the tree from it: allow them in clamd's profile, or use its tcp address", scan.ErrNotOpened).About(raw)}
		}
		return scan.Answer{Err: scan.Failed(scan.Sick, "ask clamd: it did not carry out the command").About(raw)}
	case readTimeout:
		f := scan.Failed(scan.Busy, "ask clamd: it gave up waiting").About(raw)
		f.After = busyWait
		return scan.Answer{Err: f}
	}
	return scan.Answer{Err: scan.Failed(scan.Unclear, "read reply: not in the grammar").About(raw)}
}

// busyWait is how long we leave clamd alone after it said that it is busy.
const busyWait = 5 * time.Second

// foundAnswer tells real signatures from the names by which clamd says that it did not
// look inside. AlertExceedsMax gave the name "(null)" before clamav #999.
func foundAnswer(name string) scan.Answer {
	switch {
	case name == "(null)", strings.HasPrefix(name, "Heuristics.Limits.Exceeded"):
		return scan.Answer{Verdict: scan.Unscanned, Signature: name, Reason: scan.ReasonLimit}
	case strings.HasPrefix(name, "Heuristics.Encrypted"):
		return scan.Answer{Verdict: scan.Unscanned, Signature: name, Reason: scan.ReasonEncrypted}
	}
	return scan.Answer{Verdict: scan.Malicious, Signature: name}
}

// errorAnswer sorts libclamav's error texts (cl_strerror). The file exceeds a limit:
// Unscanned. clamd has a fault that any file would meet: Sick, or Busy if it passes by
// itself. Any other error is this file's own: Refused.
func errorAnswer(text string, raw []byte) scan.Answer {
	switch text {
	case "Exceeded max recursion depth", "Exceeded max scan size", "Exceeded max scan files":
		return scan.Answer{Verdict: scan.Unscanned, Reason: scan.ReasonLimit}
	case "Scanner still active":
		f := scan.Failed(scan.Busy, "scan file: the scanner is being replaced").About(raw)
		f.After = busyWait
		return scan.Answer{Err: f}
	case "Can't allocate memory", "Can't create temporary file", "Can't create temporary directory",
		"Error writing to temporary file", "Can't create new file", "Can't write to file",
		"Can't unlink file", "Can't duplicate file descriptor", "Mutex lock failed",
		"Malformed database", "Broken or not a CVD file", "Can't verify database integrity",
		"Bad state (engine not initialized, or already initialized)":
		return scan.Answer{Err: scan.Failed(scan.Sick, "scan file: an error of the scanner's own").About(raw)}
	case "Can't access file", "Access denied", "Permission denied":
		return scan.Answer{Err: scan.Failed(scan.Refused, "scan file: %w", scan.ErrDenied).About(raw)}
	}
	return scan.Answer{Err: scan.Failed(scan.Refused, "scan file: the scanner cannot").About(raw)}
}
