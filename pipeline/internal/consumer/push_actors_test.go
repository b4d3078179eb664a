// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
)

// actor is the scanner of a script.
type actor struct {
	s *stage

	mu      sync.Mutex // guards the fields below
	answers map[string][]string
	takes   map[string]time.Duration
	open    map[string]bool   // files that were opened, until their session ends
	has     map[string]bool   // files that the scanner got, until their session ends
	last    map[string]string // the last answer for each file
	canary  string
	up      bool
	pinged  string // the last answer to a ping
}

var failures = map[string]scan.Kind{
	"busy": scan.Busy, "down": scan.Down, "sick": scan.Sick, "refused": scan.Refused, "unclear": scan.Unclear, "void": scan.Void, "unread": scan.Unread,
	"ended": scan.Void, // interrupted by a stop
}

var verdicts = []scan.Verdict{scan.Clean, scan.Suspicious, scan.Malicious, scan.Submitted, scan.Unscanned}

func failure(word string) *scan.Failure {
	return &scan.Failure{Kind: failures[word], Err: errors.New("the script says so")}
}

// Ping implements scan.Scanner.
func (a *actor) Ping(ctx context.Context) (string, error) {
	if part := time.Since(a.s.begun) % time.Second; part > 0 && !wait(ctx, time.Second-part) {
		return "", failure("down")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	word := "down"
	if a.up {
		word = "up"
	}
	if word != a.pinged {
		a.pinged = word
		a.s.say("ping %s", word)
	}
	if !a.up {
		return "", failure("down")
	}
	return "1", nil
}

// Key implements scan.Scanner.
func (*actor) Key(context.Context) string { return "1" }

// Scan implements scan.Scanner.
func (a *actor) Scan(ctx context.Context, files iter.Seq[scan.File]) []scan.Answer {
	var names, words []string
	var sums [][32]byte
	for f := range files {
		name, is := a.s.name(f.F.Name())
		if !is {
			return []scan.Answer{a.judgeCanary(f.Size)}
		}
		names, sums = append(names, name), append(sums, f.SHA256)
		word := a.judge(ctx, name)
		words = append(words, word)
		if word == "down" {
			break
		}
	}
	return a.conclude(names, words, sums)
}

// judge takes as long as the script says, and returns the next answer for a file, or
// "ended" if ctx ended first.
func (a *actor) judge(ctx context.Context, name string) string {
	a.mu.Lock()
	word, takes := "clean", time.Millisecond
	if all := a.answers[name]; len(all) > 0 {
		word = all[0]
		a.answers[name] = all[min(1, len(all)-1):]
	}
	if d, is := a.takes[name]; is {
		takes = d
	}
	a.has[name] = true
	a.mu.Unlock()
	if !wait(ctx, takes) {
		return "ended"
	}
	return word
}

// conclude answers for all files of a session.
func (a *actor) conclude(names, words []string, sums [][32]byte) (answers []scan.Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var told []string
	void := strings.Contains(strings.Join(words, " "), "void")
	for i, name := range names {
		if void {
			words[i] = "void"
		}
		told = append(told, name+": "+words[i])
		delete(a.open, name)
		delete(a.has, name)
		a.last[name] = words[i]
		answer := scan.Answer{Verdict: scan.Verdict(words[i]), SHA256: sums[i]}
		if a.s.keyed || a.s.scanner.Cache > 0 {
			answer.Key = "1"
		}
		if failures[words[i]] != 0 {
			answer = scan.Answer{Err: failure(words[i])}
		}
		answers = append(answers, answer)
	}
	if len(told) > 0 {
		a.s.say("scan %s", strings.Join(told, ", "))
	}
	return answers
}

// judgeCanary answers for a canary. Of the plain ones only the second is larger than
// harmless; the others are larger than both, and the trace does not show them.
func (a *actor) judgeCanary(size int64) scan.Answer {
	const harmless, plain = 60, 128
	a.mu.Lock()
	defer a.mu.Unlock()
	fails := failures[a.canary] != 0
	if size <= plain && (fails || size > harmless || a.canary == "alarm") {
		a.s.say("canary %s", a.canary)
	}
	switch {
	case fails:
		return scan.Answer{Err: failure(a.canary)}
	case size > harmless && a.canary != "blind", a.canary == "alarm":
		return scan.Answer{Verdict: scan.Malicious}
	}
	return scan.Answer{Verdict: scan.Clean}
}

// told is the intake of a script.
type told struct {
	*scripted
	s *stage

	mu   sync.Mutex // guards open
	open []*push    // without an outcome, oldest first
}

func (i *told) end(_ context.Context, all []ended) bool {
	defer over(all)
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, e := range all {
		for k, p := range i.open {
			if p == e.push {
				i.open = append(i.open[:k:k], i.open[k+1:]...)
				i.s.say("outcome %s", i.s.outcome(e.out))
				break
			}
		}
	}
	return true
}

func (i *told) tried(t sample.Try) {
	name, _ := i.s.name(t.Path)
	i.s.say("try %d of %s: %s", t.Try, name, t.Reason)
}

func (i *told) oldest(lane string) *push {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, p := range i.open {
		if p.at.Lane == lane {
			return p
		}
	}
	return nil
}

// outcome returns the text of an outcome in a trace.
func (s *stage) outcome(o sample.Outcome) string {
	name, _ := s.name(o.Path)
	text := name + ": " + o.Outcome
	for _, word := range []string{string(o.Verdict), o.Signature, o.Reason} {
		if word != "" {
			text += " " + word
		}
	}
	text += fmt.Sprintf(", tries %d", o.Tries)
	if o.Cached {
		text += ", cached"
	}
	if o.Verdict != "" && o.SHA256 == "" {
		text += ", no sha256"
	}
	return text
}

// origin is the source of a script's samples, in the same process.
type origin struct{ Apart }

// Here implements Source.
func (origin) Here() bool { return true }

// heard is a log handler that writes messages into the trace.
type heard struct{ s *stage }

func (heard) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (h heard) WithAttrs([]slog.Attr) slog.Handler         { return h }
func (h heard) WithGroup(string) slog.Handler              { return h }

func (h heard) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "scanner is up" { // it comes in each script
		h.s.say("log %s: %s", r.Level, r.Message)
	}
	return nil
}
