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
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// messages returns each constant message that the program logs above debug.
func messages(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
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
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			at, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			first := map[string]int{"Info": 0, "Warn": 0, "Error": 0, "Log": 2}
			i, ok := first[at.Sel.Name]
			if !ok || len(call.Args) <= i {
				return true
			}
			if text, ok := call.Args[i].(*ast.BasicLit); ok && text.Kind == token.STRING {
				message, err := strconv.Unquote(text.Value)
				if err != nil {
					t.Error(err)
				}
				all[message] = true
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestEachMessageHasItsEventID: in the program and in docs/event-ids.md alike.
func TestEachMessageHasItsEventID(t *testing.T) {
	text, err := os.ReadFile("../docs/event-ids.md")
	if err != nil {
		t.Fatal(err)
	}
	listed, ids := map[string]bool{}, map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([0-9]+) \| [a-z ]+ \| (.+) \|$`).FindAllStringSubmatch(string(text), -1) {
		id, message := row[1], row[2]
		if ids[id] {
			t.Errorf("id %s is given twice", id)
		}
		listed[message], ids[id] = true, true
		if now := fmt.Sprint(eventID(message, slog.LevelInfo)); now != id {
			t.Errorf("%q is listed as %s and logged as %s", message, id, now)
		}
	}
	all := messages(t)
	if len(all) < 50 {
		t.Fatalf("only %d messages are found", len(all))
	}
	for message := range all {
		if eventID(message, slog.LevelInfo) == eventInfo {
			t.Errorf("%q has no id: give it the next one of its group in events.go and docs/event-ids.md", message)
		} else if !listed[message] {
			t.Errorf("%q is not in docs/event-ids.md", message)
		}
	}
	for message := range listed {
		if !all[message] {
			t.Errorf("%q is in docs/event-ids.md, and nothing logs it", message)
		}
	}
}

func TestEventsCarryLevelIDAndText(t *testing.T) {
	type event struct {
		level slog.Level
		id    uint32
		text  string
	}
	var got []event
	log := slog.New(LogSettings{Level: slog.LevelInfo}.events(func(l slog.Level, id uint32, text string) error {
		got = append(got, event{l, id, text})
		return nil
	}))
	log.Debug("quiet")
	log.With("scanner", "clamav").WithGroup("g").Warn("malicious", "path", "100%SystemRoot%\n\u202e")
	log.Error("something new")
	log.Info("certpush starts", "x", strings.Repeat("ü", 40_000))
	want := []event{
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
