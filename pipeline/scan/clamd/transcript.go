// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"bytes"
	"slices"

	"github.com/certpush/certpush/pipeline/scan"
)

// transcript holds the questions of one batch of a session and ties each reply to the
// question that it answers. It does no I/O. session.mu guards it. Ids count through the
// whole session:
//
//	from | lead PINGs | files ... | fence
//	     +1           +lead+1       after
type transcript struct {
	subject string // what replies about files begin with: "fd" or "stream"
	keyed   bool   // the first PING and the fence are VERSIONs
	from    int    // the last id that was used before this batch
	lead    int    // so many PINGs go ahead of the files
	led     int    // replies to those PINGs that came
	slots   []slot
	first   string       // the version that clamd told ahead of the files
	last    string       // the version that it told after them
	torn    bool         // the id of the fence's VERSION came, and then a reply about a file
	silent  bool         // clamd refused VERSION
	closing bool         // the fence is on its way
	closed  bool         // the reply to the fence came: clamd took all before it
	fault   *scan.Answer // the first reason for which no reply counts
}

// next returns the transcript of the batch after t in the same session. All of t was
// answered.
func (t *transcript) next(keyed bool) transcript {
	return transcript{subject: t.subject, keyed: keyed, from: int(t.after()), lead: 1}
}

// slot is one file of a session.
type slot struct {
	size     int64 // bytes
	whole    bool  // its last byte is on its way: a reply is no longer early
	sent     bool  // the system took its last byte
	answered bool
	sum      [32]byte // of the bytes that were sent, if they were
	reply    reply
	raw      []byte // the reply as received, at most scan.MaxRaw bytes
}

// take notes one reply and reports whether the session is still sound.
func (t *transcript) take(line []byte) bool {
	a := t.place(line)
	if a != nil {
		t.spoil(*a)
	}
	return a == nil
}

// spoil notes why no reply of the session counts. The first reason stays.
func (t *transcript) spoil(a scan.Answer) {
	if t.fault == nil {
		t.fault = &a
	}
}

// begins is the id of the first PING.
func (t *transcript) begins() uint64 { return uint64(t.from + 1) }

// file is the id of the first file.
func (t *transcript) file() uint64 { return uint64(t.from + t.lead + 1) }

// doubtful reports whether something came that was not asked for. That clamd gave up waiting
// is none of that.
func (t *transcript) doubtful() bool {
	return t.fault != nil && (t.fault.Err == nil || t.fault.Err.Kind != scan.Busy)
}

// after is the id after those of the files: the fence's.
func (t *transcript) after() uint64 { return t.file() + uint64(len(t.slots)) }

// place ties a reply to its question. It returns nil, or the answer that the whole
// session gets because of this reply. It never gives a verdict on the content of a
// file.
func (t *transcript) place(line []byte) *scan.Answer {
	id, r := parseReply(line)
	if a, is := t.placeVersion(line, id, r); is {
		return a
	}
	switch {
	case id >= t.begins() && id < t.file():
		if r.word == refusal {
			a := r.judge(line)
			return &a
		}
		if r.word != pong || id != t.begins()+uint64(t.led) {
			return unclear(line, "it is not the PONG due")
		}
		t.led++
		return nil
	case r.word == pong && t.closing && !t.closed && !t.keyed && t.led == t.lead && id == t.after():
		t.closed = true
		return nil
	}
	return t.placeFile(line, id, r)
}

// placeVersion takes the reply to a VERSION. With false the reply is not one.
func (t *transcript) placeVersion(line []byte, id uint64, r reply) (*scan.Answer, bool) {
	_, text, _ := cutID(line)
	switch due := t.keyed && t.closing && t.led == t.lead && !t.closed; {
	case t.keyed && id == t.begins() && t.led == 0:
		return t.versioned(text, r), true
	case due && id == t.after() && !t.torn && t.aboutFile(text):
		// clamd writes its version in two parts, the id first. Its other threads write
		// whole replies between them.
		t.torn = true
		return t.place(text), true
	case due && id == t.after() && !t.torn:
		return t.versioned(text, r), true
	case due && id == 0 && t.torn && r.word == unknown:
		return t.versioned(line, r), true
	}
	return nil, false
}

// placeFile takes a reply that no PING and no VERSION is due for: it must be about a
// file.
func (t *transcript) placeFile(line []byte, id uint64, r reply) *scan.Answer {
	open := len(t.slots) - 1
	switch r.word {
	case readTimeout, refusal:
		a := r.judge(line)
		return &a
	case streamLimit:
		// It comes in the middle of the file that it is about, which is the last one.
		if t.subject != "stream" || open < 0 || t.slots[open].answered || id != 0 && id != t.file()+uint64(open) {
			return unclear(line, "it is about no file of this session")
		}
		a := r.judge(line)
		return &a
	case unknown:
		return unclear(line, "it is not in the grammar")
	case pong:
		return unclear(line, "it is a PONG not due")
	}
	if id < t.file() || id >= t.after() {
		return unclear(line, "its id is not of this batch")
	}
	slot := &t.slots[id-t.file()]
	switch {
	case t.led < t.lead:
		return unclear(line, "it comes before the PONGs due")
	case r.subject != t.subject:
		return unclear(line, "it is about something that was not sent")
	case slot.answered:
		return unclear(line, "its file was answered before")
	case !slot.whole && r.word == fileError:
		a := r.judge(line)
		return &a
	case !slot.whole:
		return unclear(line, "its file was not sent whole yet")
	}
	slot.answered, slot.reply, slot.raw = true, r, bytes.Clone(line[:min(len(line), scan.MaxRaw)])
	return nil
}

func unclear(line []byte, why string) *scan.Answer {
	return &scan.Answer{Err: scan.Failed(scan.Unclear, "read reply: %s", why).About(line)}
}

// aboutFile reports whether line is a reply about a file of this session.
func (t *transcript) aboutFile(line []byte) bool {
	id, r := parseReply(line)
	return r.subject != "" && id >= t.file() && id < t.after()
}

// versioned takes r, the reply to the VERSION ahead of the files or to the fence's. A text that could answer another question is not taken for a version.
func (t *transcript) versioned(text []byte, r reply) *scan.Answer {
	if r.word == refusal {
		t.silent = true
		return &scan.Answer{Err: scan.Failed(scan.Void, "ask clamd: it does not tell its version in a session").About(text)}
	}
	if r.word != unknown || len(text) == 0 || len(text) > maxVersion {
		return &scan.Answer{Err: scan.Failed(scan.Unclear, "read reply: it is no version").About(text)}
	}
	if t.led == 0 {
		t.first = string(text)
		t.led++
	} else {
		t.last, t.closed = string(text), true
	}
	return nil
}

// owes reports whether a file has no reply yet.
func (t *transcript) owes() bool {
	return slices.ContainsFunc(t.slots, func(f slot) bool { return !f.answered })
}

// whole reports whether each question has its reply, and nothing spoiled the session.
func (t *transcript) whole() bool { return t.fault == nil && t.closed && !t.owes() }

// verdicts returns the answers of a sound batch, one for each file.
func (t *transcript) verdicts(maxSize int64) []scan.Answer {
	answers := make([]scan.Answer, len(t.slots))
	for i, slot := range t.slots {
		answers[i] = scan.Beyond(slot.reply.judge(slot.raw), slot.size, maxSize)
		answers[i].SHA256 = slot.sum
		if answers[i].Err == nil {
			answers[i].Key, answers[i].Version = t.key(), t.version()
		}
	}
	return answers
}

// key returns the version by which clamd judged every file of a sound batch, or ""
// if that is not known. clamd hands a file to the database that it has when it comes
// to the file's command, and it answers VERSION by that same database. It takes the
// commands in their order. So if it tells one number ahead of all files and after
// them, there was no other database in between.
func (t *transcript) key() string {
	if !numbered(t.version()) {
		return ""
	}
	return t.first
}

// version returns the version that clamd told both ahead of all files and after them,
// or "" if it told none or two.
func (t *transcript) version() string {
	if !t.keyed || t.first != t.last {
		return ""
	}
	return t.first
}
