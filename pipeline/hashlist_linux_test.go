// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/scan"
)

// TestAHostileHashList ends nothing and leads to no verdict. Samples wait, the log
// names the list, and when a good list takes its place they are judged.
func TestAHostileHashList(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"missing":  func(string) error { return nil },
		"a folder": func(path string) error { return os.Mkdir(path, 0o755) },
		"a pipe":   func(path string) error { return unix.Mkfifo(path, 0o644) },
		"a device": func(path string) error { return os.Symlink("/dev/zero", path) },
		"a loop":   func(path string) error { return os.Symlink(path, path) },
		"garbage": func(path string) error {
			return os.WriteFile(path, bytes.Repeat([]byte{0xff, 0, '\n', ','}, 1000), 0o600)
		},
		"no lines": func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte{'a'}, 1<<20), 0o600) },
		"a web page": func(path string) error {
			return os.WriteFile(path, []byte("<!DOCTYPE html>\n<title>404</title>\n"), 0o600)
		},
		"huge": func(path string) error {
			if err := os.WriteFile(path, []byte("#"), 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 1<<40)
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			list := filepath.Join(t.TempDir(), "list")
			must(t, make(list))
			l := newLab(t, func(c *Config) {
				c.Scanners = []config.Scanner{{Name: "known", Type: "hashlist", Lists: []string{list}}}
			})
			l.start()
			l.swept()
			bad, other := l.write("bad", "hello"), l.write("other", "other")
			l.until("two that wait", func() bool { return l.p.Status().Scanners[0].Waiting == 2 })
			l.until("the list named in the log", func() bool { return strings.Contains(l.logged(), list) })
			if n := len(l.outcomes()); n != 0 {
				t.Fatalf("a verdict without a list: %+v", l.outcomes())
			}
			fresh := list + ".fresh"
			must(t, os.WriteFile(fresh, fmt.Appendf(nil, "%x  Greeting\n", sha256.Sum256([]byte("hello"))), 0o600))
			must(t, os.RemoveAll(list))
			must(t, os.Rename(fresh, list))
			l.judged(bad, other)
			if o := outcomesOf(l.outcomes(), bad)[0]; o.Verdict != scan.Malicious || o.Signature != "Greeting" {
				t.Errorf("listed: %+v", o)
			}
			if o := outcomesOf(l.outcomes(), other)[0]; o.Verdict != scan.Unscanned || o.Reason != scan.ReasonNotListed {
				t.Errorf("not listed: %+v", o)
			}
		})
	}
}

// TestAHashListIsReplacedWhileItIsRead, in place and by a rename. Hashes that are in
// both versions are always known, and hashes that are in neither are never known.
func TestAHashListIsReplacedWhileItIsRead(t *testing.T) {
	t.Parallel()
	list := filepath.Join(t.TempDir(), "list")
	known := fmt.Sprintf("%x  Greeting\n", sha256.Sum256([]byte("hello")))
	text := func(round int) []byte {
		var b bytes.Buffer
		for i := range 20_000 {
			fmt.Fprintf(&b, "%x\n", sha256.Sum256(fmt.Append(nil, round, i)))
		}
		return append([]byte(known), b.Bytes()...)
	}
	must(t, os.WriteFile(list, text(0), 0o600))
	l := newLab(t, func(c *Config) {
		c.Scanners = []config.Scanner{{Name: "known", Type: "hashlist", Lists: []string{list}}}
	})
	l.start()
	l.swept()
	for round := range 6 {
		if round%2 == 0 {
			must(t, os.WriteFile(list+".new", text(round), 0o600))
			must(t, os.Rename(list+".new", list))
		} else {
			must(t, os.WriteFile(list, text(round), 0o600))
		}
		bad, other := l.write(fmt.Sprint("bad", round), "hello"), l.write(fmt.Sprint("other", round), fmt.Sprint("other", round))
		l.judged(bad, other)
		if o := outcomesOf(l.outcomes(), bad)[0]; o.Verdict != scan.Malicious || o.Signature != "Greeting" {
			t.Errorf("listed: %+v", o)
		}
		if o := outcomesOf(l.outcomes(), other)[0]; o.Verdict != scan.Unscanned {
			t.Errorf("not listed: %+v", o)
		}
	}
}
