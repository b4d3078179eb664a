// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

// TestLinesWhoseSyncFailedAtAnOpenAreNotBelieved: a killed process left lines that were not
// synced, and the sync at the next open fails. The open after that gets a success from the
// system, also in another process, and whether or not anything can be noted on the disk.
// What it hands out must outlast a power cut.
func TestLinesWhoseSyncFailedAtAnOpenAreNotBelieved(t *testing.T) {
	for name, refuses := range map[string]func(op disktest.Op) bool{
		"sync":             func(op disktest.Op) bool { return op.Kind == "sync" },
		"sync, and create": func(op disktest.Op) bool { return op.Kind == "sync" || op.Kind == "create" },
	} {
		for _, killed := range []bool{false, true} {
			d := disktest.New()
			s := openOn(t, d)
			long := strings.Repeat("x", 5000) + "\n" // over several pages
			if _, _, err := s.Append([]byte("a" + long)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write([]byte("b"+long), []byte("c"+long)); err != nil {
				t.Fatal(err)
			}
			d = d.Kill()
			d.Before = func(op disktest.Op) error {
				if strings.HasPrefix(filepath.ToSlash(op.Path), "/journal/monitor.log") && refuses(op) {
					return syscall.EIO
				}
				return nil
			}
			for range 2 {
				if _, err := journal.OpenSeries(journal.Config{Disk: d, Dir: "/journal", Base: "monitor.log", Lane: journal.Live, CutSize: 1 << 20}, quiet); err == nil {
					t.Fatalf("%s: it opens", name)
				}
			}
			d.Before = nil
			if killed {
				d = d.Kill()
			}
			got := handedOut(t, openOn(t, d))
			want := []string{"a" + long[:5000], "b" + long[:5000], "c" + long[:5000]}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %d lines are handed out, want %d", name, len(got), len(want))
			}
			if left := handedOut(t, openOn(t, d.Cut(0))); !slices.Equal(left, got) {
				t.Errorf("%s, killed %v: %d lines are handed out, %d of them are there after a power cut", name, killed, len(got), len(left))
			}
			if dir, err := d.OpenFolder("/journal"); err != nil {
				t.Error(err)
			} else if _, err := dir.Lstat("monitor.log" + journal.DoubtEnd); err == nil {
				t.Errorf("%s: the doubt is still there", name)
			}
		}
	}
}

// TestLinesThatCouldNotBeCutOffAreNotBelieved: a sync fails, what it covered cannot be cut
// off, and the process is killed. The disk may refuse to note that at first.
func TestLinesThatCouldNotBeCutOffAreNotBelieved(t *testing.T) {
	for _, full := range []bool{false, true} {
		d := disktest.New()
		s := openOn(t, d)
		long := strings.Repeat("x", 5000)
		if _, _, err := s.Append([]byte("a" + long + "\n")); err != nil {
			t.Fatal(err)
		}
		d.Before = func(op disktest.Op) error {
			if op.Kind == "sync" || op.Kind == "truncate" || op.Kind == "create" && full {
				return syscall.EIO
			}
			return nil
		}
		for range 2 {
			if _, _, err := s.Append([]byte("b" + long + "\n")); err == nil {
				t.Fatal("append while sync fails")
			}
			full = false
		}
		d = d.Kill()
		got := handedOut(t, openOn(t, d))
		if left := handedOut(t, openOn(t, d.Cut(0))); !slices.Equal(left, got) {
			t.Errorf("%d lines are handed out, %d of them are there after a power cut", len(got), len(left))
		}
	}
}

// TestADoubtIsSaidOnce, at its end: the segment cannot be opened for long, and that is tried
// again and again.
func TestADoubtIsSaidOnce(t *testing.T) {
	d := disktest.New()
	var said bytes.Buffer
	s, err := journal.OpenSeries(journal.Config{Disk: d, Dir: "/journal", Base: "monitor.log", Lane: journal.Live, CutSize: 1 << 20}, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, _, err := s.Append([]byte("a\n")); err != nil {
		t.Fatal(err)
	}
	refuses := func(op disktest.Op) error {
		if op.Kind == "sync" && filepath.ToSlash(op.Path) == "/journal/monitor.log" {
			return syscall.EIO
		}
		return nil
	}
	// Another program puts lines where the next segment is to be opened.
	d.Before = func(op disktest.Op) error {
		if op.Kind == "create" && filepath.ToSlash(op.Path) == "/journal/monitor.log" {
			return syscall.EMFILE
		}
		return nil
	}
	if err := s.Cut(time.Now()); err == nil {
		t.Fatal("the next segment is there")
	}
	d.Before = nil
	dir, err := d.OpenFolder("/journal")
	if err != nil {
		t.Fatal(err)
	}
	f, err := dir.Open("monitor.log", os.O_WRONLY|os.O_CREATE|os.O_APPEND)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("/srv/by-hand\n")); err != nil {
		t.Fatal(err)
	}
	d.Before = refuses
	for range 5 {
		if _, _, err := s.Append([]byte("b\n")); err == nil {
			t.Fatal("append while sync fails")
		}
	}
	d.Before = nil
	if _, _, err := s.Append([]byte("b\n")); err != nil {
		t.Error(err)
	}
	if n := strings.Count(said.String(), "written anew"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
}
