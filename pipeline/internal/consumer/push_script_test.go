// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
)

// The scripts in testdata/push show what becomes of a push. A script is a row of blocks.
// A block has some commands, then "----", then the expected trace. An empty line ends
// it, and # begins a comment. `go test ./pipeline/internal/consumer -run PushScripts
// -rewrite` replaces the expected traces with the actual ones; read the difference.
//
// A script begins at 0s, and nothing runs yet. Time is that of testing/synctest: only
// the command wait takes time. Before the next command begins, everything has happened
// that follows from this one without waiting. Workers, turns, trials, health, opener and
// files are real; the lines, the scanner and the source of samples are scripted.
//
// Before the start:
//
//	scanner workers=1 tries=3 backoff=1s backoff_max=5m grace=8s cache=0s canary=yes rate=0/0s
//	                          the scanner's settings; these are the defaults
//	tree settle_limit=1h      the tree with all files; tree other/ has its own folder
//	apart                     the producer is another process
//
// The run:
//
//	start                     begins to push
//	stop                      asks for a stop; a script without it ends with one
//	wait 2s                   lets time pass
//
// Lines and files:
//
//	file a some text          writes file a, with another mtime each time
//	touch a                   changes the ctime of a and nothing else
//	remove a                  removes a
//	line a b                  hands out lines for a and b with their versions of now
//	line a lane=backlog via=limit bare
//	                          the same in another lane, with another via, without an id
//
// The faults of a file; the last command for a file counts:
//
//	hold a                    another program holds a
//	unreadable a              the disk refuses to open a
//	taken a                   another anti-virus on this host keeps a from being opened
//	release a                 a can be opened again
//	slow a 200ms              a read returns one byte and takes this long
//	ends a 3                  a ends after 3 bytes, and its size stays
//	descriptors none          no file can be opened; descriptors some: they can again
//
// The scanner:
//
//	answer a refused clean    its answers for a, one after the other; the last one
//	                          repeats. An answer is a verdict or a kind of failure. "void"
//	                          voids the whole session. The default is clean
//	takes a 5s                how long it takes to judge a; the default is 1ms
//	ping down                 it does not answer pings; ping up: it does. A ping is
//	                          answered at the next full second, because the pace of pings
//	                          is random. After four seconds that shows in the trace all
//	                          the same. An answer is shown if it differs from the last
//	canary blind              the result of the canary: well, blind, alarm or a failure
//	pause                     an operator pauses it; resume lets it go on
//
// The trace has the time, and one of:
//
//	scan a: clean, b: void    a session has ended: its files and their answers
//	open a: held              a file could not be opened, or not be read to its end
//	try 1 of a: ...           a failed try that counts, with its reason
//	outcome a: ...            an outcome is recorded
//	ping down                 and canary well
//	log WARN: ...             a message, without its keys
//	stopped                   no push is in flight any more
//
// At the end of each block are the pushes without an outcome and their states. The
// package doc draws the states.
var rewrite = flag.Bool("rewrite", false, "write what came out into testdata/push")

// block has some commands and the trace that they must lead to.
type block struct {
	text     string // with comments
	commands [][]string
	want     string
}

const ruler = "----\n"

// parseScript cuts a script into its blocks.
func parseScript(text string) (blocks []block, err error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for strings.TrimSpace(text) != "" {
		before, rest, ok := strings.Cut(text, ruler)
		if !ok {
			return nil, fmt.Errorf("no ---- after %q", before)
		}
		b := block{text: before}
		b.want, text, _ = strings.Cut("\n"+rest, "\n\n")
		b.want = strings.Trim(b.want, "\n")
		for _, line := range strings.Split(before, "\n") {
			if words := strings.Fields(line); len(words) > 0 && words[0][0] != '#' {
				b.commands = append(b.commands, words)
			}
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// scripts returns the files of testdata/push by the names of the scripts.
func scripts(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "testdata", "push", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	all := map[string]string{}
	for _, f := range files {
		all[strings.TrimSuffix(filepath.Base(f), ".txt")] = f
	}
	return all
}

// TestPushScripts runs each testdata/push/*.txt. A new file there is a new test.
func TestPushScripts(t *testing.T) {
	for name, file := range scripts(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if strings.HasSuffix(name, "-unix") && !removalShows {
				t.Skip("it is of systems where a removal changes the ctime")
			}
			text, err := os.ReadFile(file)
			must(t, err)
			blocks, err := parseScript(string(text))
			must(t, err)
			dir, err := filepath.EvalSymlinks(t.TempDir())
			must(t, err)
			var got strings.Builder
			synctest.Test(t, func(t *testing.T) { play(t, newStage(dir), blocks, &got) })
			if *rewrite && !t.Failed() {
				must(t, os.WriteFile(file, []byte(got.String()), 0o644))
			}
		})
	}
}

// play runs the blocks on s, and writes the script with the actual traces to out.
func play(t *testing.T, s *stage, blocks []block, out *strings.Builder) {
	defer s.end()
	for i, b := range blocks {
		for _, words := range b.commands {
			if err := s.do(words); err != nil {
				t.Errorf("%s: %v", strings.Join(words, " "), err)
				return
			}
			synctest.Wait()
		}
		got := s.show()
		if got != b.want && !*rewrite {
			t.Errorf("%s%sgot\n%s\nwant\n%s", b.text, ruler, got, b.want)
		}
		if i > 0 {
			out.WriteString("\n")
		}
		out.WriteString(b.text + ruler)
		if got != "" {
			out.WriteString(got + "\n")
		}
	}
}

// TestTheDrawingOfAPushIsTrue: each label of the drawing in the package doc is the name
// of a script, each script belongs to a label, and each state is in the drawing and in a
// script.
func TestTheDrawingOfAPushIsTrue(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	must(t, err)
	_, rest, _ := strings.Cut(string(doc), "# The states of a push")
	drawing, rest, _ := strings.Cut(rest, "The states:")
	states, _, _ := strings.Cut(rest, "# Invariants")
	all, traces := scripts(t), ""
	labels := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:--|:) ((?:[a-z-]+, )*[a-z-]+)(?: -+>|\n)`).FindAllStringSubmatch(drawing, -1) {
		for label := range strings.SplitSeq(m[1], ", ") {
			if labels[label] = true; all[label] == "" {
				t.Errorf("the drawing has %s, and there is no script of that name", label)
			}
		}
	}
	for name, file := range all {
		text, err := os.ReadFile(file)
		must(t, err)
		traces += string(text)
		for at := len(name); at > 0 && !labels[name[:at]]; {
			if at = strings.LastIndexByte(name[:at], '-'); at < 0 {
				t.Errorf("script %s belongs to no label of the drawing", name)
			}
		}
	}
	words := regexp.MustCompile(`(?m)^//\t([a-z]+) `).FindAllStringSubmatch(states, -1)
	if len(labels) < 15 || len(words) < 10 {
		t.Fatalf("%d labels and %d states are found in the drawing", len(labels), len(words))
	}
	for _, m := range words {
		told := regexp.MustCompile(`(?m)(?: is |^# .*)(?:in )?` + m[1] + `\b`)
		if !strings.Contains(drawing, m[1]) || !told.MatchString(traces) {
			t.Errorf("state %s is not in the drawing, or in no script", m[1])
		}
	}
}
