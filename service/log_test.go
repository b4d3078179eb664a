// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostile holds characters that a terminal, a log or a page would act upon.
func hostile() []string {
	return []string{
		"a\nb", "a\rb", "\x1b[2J", "\u202egnp.exe", "\u2066x\u2069", "bad\xffbyte", "\u2028", "\u0085", "\x00", "\x7f", "\u200b", "tab\there", "<4>forged\nlevel=ERROR",
	}
}

func TestNoHostileCharacterReachesALog(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		s := LogSettings{JSON: asJSON}
		log := slog.New(s.handler(&out, true))
		records := 0
		for _, text := range hostile() {
			log.Warn("malicious", "path", text, "error", errors.New(text), "list", []string{text}, "bytes", []byte(text))
			log.With("path", text).WithGroup("g").Warn(text, "path", text)
			records += 2
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != records {
			t.Errorf("json %v: %d records in %d lines", asJSON, records, len(lines))
		}
		for _, line := range lines {
			if !utf8.ValidString(line) || strings.ContainsRune(line, utf8.RuneError) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("json %v: %q", asJSON, line)
			}
			if asJSON && !json.Valid([]byte(line)) {
				t.Errorf("not JSON: %s", line)
			}
		}
	}
}

func TestPlainTextIsLoggedAsItIs(t *testing.T) {
	var out bytes.Buffer
	slog.New(LogSettings{JSON: true}.handler(&out, false)).Info("x", "path", "/srv/größe/файл.exe")
	if want := `{"level":"INFO","msg":"x","path":"/srv/größe/файл.exe"}` + "\n"; out.String() != want {
		t.Errorf("%s, want %s", out.String(), want)
	}
}

func TestALogFileIsWrittenAndHeldToItsLevel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "certpush.log")
	log, closeLog, err := openLog(LogSettings{To: path, Level: slog.LevelWarn})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud")
	if err := closeLog(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), "quiet") || !strings.Contains(string(text), "level=WARN msg=loud") {
		t.Errorf("%q, %v", text, err)
	}
}
