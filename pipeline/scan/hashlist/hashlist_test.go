// SPDX-License-Identifier: Apache-2.0

package hashlist_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/hashlist"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

func hashed(text string) scan.File {
	return scan.File{Size: int64(len(text)), SHA256: sha256.Sum256([]byte(text))}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func lists(log *slog.Logger, paths ...string) scan.Scanner {
	return hashlist.New(scan.Config{Lists: paths, Log: log})
}

func judge(t testing.TB, s scan.Scanner, files ...scan.File) []scan.Answer {
	t.Helper()
	answers := s.Scan(t.Context(), slices.Values(files))
	for i, a := range answers {
		if (a.Verdict == "") == (a.Err == nil) {
			t.Errorf("answer %d is neither or both: %+v", i, a)
		}
	}
	return answers
}

func TestHashlistFormats(t *testing.T) {
	hex := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	for name, c := range map[string]struct{ list, text, signature string }{
		"bare":             {"# a comment\n\n" + hex("a") + "\n", "a", "hashlist"},
		"upper case, crlf": {strings.ToUpper(hex("a")) + "\r\n", "a", "hashlist"},
		"byte order mark":  {"\ufeff" + hex("a") + "\n", "a", "hashlist"},
		"no last newline":  {hex("b") + "\n" + hex("a"), "a", "hashlist"},
		"sha256sum":        {hex("a") + "  some name, with a comma\n", "a", "some name, with a comma"},
		"sha256sum binary": {hex("a") + " *some.exe\n", "a", "some.exe"},
		"escaped":          {`\` + hex("a") + `  a\nb` + "\n", "a", `a\nb`},
		"csv":              {hex("a") + ",Trojan.A\n" + hex("b") + ",Trojan.B\n", "b", "Trojan.B"},
		"csv, hash last":   {"Trojan.A," + hex("a") + "\n", "a", "Trojan.A"},
		"csv, header":      {"md5,sha256,size,Signature\nx," + hex("a") + `,7,"Trojan, A"` + "\n", "a", "Trojan, A"},
		"csv, no name":     {"sha256,\n" + hex("a") + ",\n", "a", "hashlist"},
	} {
		path := filepath.Join(t.TempDir(), "list")
		write(t, path, c.list)
		s := lists(nil, path)
		key, err := s.Ping(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := judge(t, s, hashed(c.text), hashed("none"))
		want := []scan.Answer{{Verdict: scan.Malicious, Signature: c.signature, Key: key}, {Verdict: scan.Unscanned, Reason: scan.ReasonNotListed, Key: key}}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %+v, want %+v", name, got[i], want[i])
			}
		}
	}
}

func TestHashlistBuiltIn(t *testing.T) {
	s := lists(nil)
	if shown, err := (scan.Canaries{}).Ask(t.Context(), s, scan.Plain, 0); err != nil || !shown.Sees {
		t.Errorf("%+v, %v", shown, err)
	}
	a := judge(t, s, hashed(string(scantest.EICAR())))[0]
	if a.Verdict != scan.Malicious || a.Signature != "EICAR-Test-File" {
		t.Errorf("%+v", a)
	}
}

func TestHashlistMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	s := lists(nil, path)
	_, err := s.Ping(t.Context())
	if f, ok := errors.AsType[*scan.Failure](err); !ok || f.Kind != scan.Sick || !strings.Contains(err.Error(), path) {
		t.Errorf("ping: %v", err)
	}
	if a := judge(t, s, hashed("a"))[0]; a.Err == nil || a.Err.Kind != scan.Sick {
		t.Errorf("%+v", a)
	}
}

func TestHashlistReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		path := filepath.Join(t.TempDir(), "list")
		one := fmt.Sprintf("%x one\n", sha256.Sum256([]byte("a")))
		two := fmt.Sprintf("%x two\n%s", sha256.Sum256([]byte("b")), one)
		write(t, path, one)
		s := lists(slog.New(slog.NewTextHandler(&log, nil)), path)
		first, err := s.Ping(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, two)
		if a := judge(t, s, hashed("b"))[0]; a.Verdict != scan.Unscanned || a.Key != first {
			t.Errorf("looked twice within a second: %+v", a)
		}
		<-time.After(time.Second)
		found := judge(t, s, hashed("b"))[0]
		if found.Signature != "two" {
			t.Errorf("not read again: %+v", found)
		}
		second, err := s.Ping(t.Context())
		if found.Key != second { // it must not be the key of before the reload
			t.Errorf("by %q, and it tells %q", second, found.Key)
		}
		if err != nil || second == first || !strings.HasPrefix(second, "hashlist 3 ") {
			t.Errorf("version %q then %q, %v", first, second, err)
		}
		write(t, path, one+"\nnot a hash\n")
		for range 3 {
			<-time.After(time.Second)
			if a := judge(t, s, hashed("b"))[0]; a.Signature != "two" {
				t.Errorf("the old list is gone: %+v", a)
			}
		}
		if v, err := s.Ping(t.Context()); err != nil || v != second {
			t.Errorf("ping: %q, %v", v, err)
		}
		if n := strings.Count(log.String(), filepath.Base(path)+":3"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log.String())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Ping(t.Context()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("ping without the file: %v", err)
		}
		if a := judge(t, s, hashed("b"))[0]; a.Signature != "two" || a.Key != "" {
			t.Errorf("without the file: %+v", a)
		}
	})
}
