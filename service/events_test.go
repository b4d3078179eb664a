// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// messages returns each constant message that the program logs above debug, with the
// levels at which it is logged. "" is a level that is known only at run time.
func messages(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if e != nil && e.IsDir() && strings.HasPrefix(e.Name(), ".") && e.Name() != ".." {
			return filepath.SkipDir
		}
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "test"+string(filepath.Separator)) {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if message, level, is := logged(t, n); is {
				all[message] = append(all[message], level)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d messages are found", len(all))
	}
	return all
}

// logged returns the message and the level of n if n is a call of a logger.
func logged(t *testing.T, n ast.Node) (message, level string, is bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return "", "", false
	}
	at, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", "", false
	}
	calls := map[string]struct {
		message int
		level   string
	}{
		"Info": {0, "information"}, "InfoContext": {1, "information"}, "Warn": {0, "warning"}, "WarnContext": {1, "warning"},
		"Error": {0, "error"}, "ErrorContext": {1, "error"}, "Log": {2, ""}, "LogAttrs": {2, ""},
	}
	c, ok := calls[at.Sel.Name]
	if !ok || len(call.Args) <= c.message {
		return "", "", false
	}
	text, ok := call.Args[c.message].(*ast.BasicLit)
	if !ok || text.Kind != token.STRING {
		return "", "", false
	}
	message, err := strconv.Unquote(text.Value)
	if err != nil {
		t.Error(err)
	}
	return message, c.level, true
}

// TestEachMessageHasItsEventID: each message that the program logs is in the table, with
// its level, and each message in the table is logged.
func TestEachMessageHasItsEventID(t *testing.T) {
	all, ids := messages(t), newEventIDs()
	listed, given := map[string]string{}, map[uint32]bool{}
	for _, e := range tabledEvents() {
		if given[e.id] || e.id <= eventError || e.id > 999 {
			t.Errorf("id %d is given twice or out of bounds", e.id)
		}
		given[e.id] = true
		switch levels, is := all[e.message]; {
		case e.level == retired && is:
			t.Errorf("%q is logged, and its id %d is retired: give it a new one", e.message, e.id)
		case e.level == retired:
			continue
		case listed[e.message] != "":
			t.Errorf("%q stands in the table twice", e.message)
		case !is:
			t.Errorf("%q is in the table, and nothing logs it: set its level to %s", e.message, retired)
		case ids.of(e.message, slog.LevelInfo) != e.id:
			t.Errorf("%q is listed as %d and logged as %d", e.message, e.id, ids.of(e.message, slog.LevelInfo))
		default:
			for _, level := range levels {
				if !slices.Contains([]string{"information", "warning", "error", "information or warning"}, e.level) || !strings.Contains(e.level, level) {
					t.Errorf("%q is listed as %q and logged as %q", e.message, e.level, level)
				}
			}
		}
		listed[e.message] = e.level
	}
	for message := range all {
		if listed[message] == "" {
			t.Errorf("%q has no id: give it the next one of its section in events.tsv", message)
		}
	}
}

// TestEventIDsAreWrittenDown: docs/event-ids.md has the same rows as the table. The text
// above its first section is written by hand.
func TestEventIDsAreWrittenDown(t *testing.T) {
	const path = "../docs/event-ids.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	have := strings.ReplaceAll(string(text), "\r\n", "\n")
	head, _, _ := strings.Cut(have, "\n## ")
	var want strings.Builder
	want.WriteString(head)
	section := ""
	for _, e := range tabledEvents() {
		if e.section != section {
			fmt.Fprintf(&want, "\n## %s\n\n| id | level | message |\n|---|---|---|\n", e.section)
			section = e.section
		}
		fmt.Fprintf(&want, "| %d | %s | %s |\n", e.id, e.level, e.message)
	}
	switch {
	case have == want.String():
	case *update:
		if err := os.WriteFile(path, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s differs from events.tsv: go test ./service -run EventIDs -update", path)
	}
}

// TestTheTableOfEventsCanBeRead, each row of it: tabledEvents leaves out one that cannot
// be read.
func TestTheTableOfEventsCanBeRead(t *testing.T) {
	rows := strings.Count(eventRows, "\n") - 1
	if got := len(tabledEvents()); got != rows || !strings.HasPrefix(eventRows, "id\tlevel\tsection\tmessage") {
		t.Errorf("of %d rows %d can be read", rows, got)
	}
	seen, last := map[string]bool{}, ""
	for _, e := range tabledEvents() {
		if e.section != last && seen[e.section] {
			t.Errorf("section %q stands in two places", e.section)
		}
		seen[e.section], last = true, e.section
		if e.message != strings.TrimSpace(e.message) || e.message == "" || strings.Contains(e.message, "|") {
			t.Errorf("%d: %q breaks the list", e.id, e.message)
		}
	}
}

func TestEventsCarryLevelIDAndText(t *testing.T) {
	type reported struct {
		level slog.Level
		id    uint32
		text  string
	}
	var got []reported
	log := slog.New(LogSettings{Level: slog.LevelInfo}.events(func(l slog.Level, id uint32, text string) error {
		got = append(got, reported{l, id, text})
		return nil
	}))
	log.Debug("quiet")
	log.With("scanner", "clamav").WithGroup("g").Warn("malicious", "path", "100%SystemRoot%\n\u202e")
	log.Error("something new")
	log.Info("certpush starts", "x", strings.Repeat("ü", 40_000))
	want := []reported{
		{slog.LevelWarn, 507, `level=WARN msg=malicious scanner=clamav g.path="100\x25SystemRoot\x25\n\u202e"`},
		{slog.LevelError, eventError, `level=ERROR msg="something new"`},
	}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v", got)
	}
	if long := got[2]; long.id != 103 || len(long.text) > 31_100 || !strings.HasSuffix(long.text, "ü ...") {
		t.Errorf("%d %d", long.id, len(long.text))
	}
}
