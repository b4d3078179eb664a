// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/journal/disktest"
)

var quiet = slog.New(slog.DiscardHandler)

// openOn opens the live lane on a disk.
func openOn(t testing.TB, d *disktest.Disk) *journal.Series {
	t.Helper()
	s, err := journal.OpenSeries(journal.Config{Disk: d, Dir: "/journal", Base: "monitor.log", Lane: journal.Live, CutSize: 1 << 20}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// segments returns the text of each segment of a disk, in order.
func segments(t testing.TB, d *disktest.Disk) (texts []string) {
	t.Helper()
	dir, err := d.OpenFolder("/journal")
	if err != nil {
		t.Fatal(err)
	}
	names, err := journal.Segments(dir, "monitor.log")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := journal.LoadText(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	return texts
}

// handedOut returns all lines that a reader returns.
func handedOut(t testing.TB, s *journal.Series) (lines []string) {
	t.Helper()
	r, err := journal.NewReader(s.Folder(), "monitor.log", journal.Pos{}, s, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		l, ok, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return lines
		}
		lines = append(lines, string(l.Text))
	}
}

// TestASegmentWhoseSyncFailedIsNotTrusted: after a failed fsync the kernel may drop the
// pages, and the next fsync is a success that means nothing. So the segment is sealed,
// and lines that were not synced are appended again, to the next segment.
func TestASegmentWhoseSyncFailedIsNotTrusted(t *testing.T) {
	d := disktest.New()
	failing := ""
	d.Before = func(op disktest.Op) error {
		if strings.Contains(failing, op.Kind) && strings.HasSuffix(op.Path, "monitor.log") {
			return syscall.EIO
		}
		return nil
	}
	s := openOn(t, d)
	put := func(line string) error {
		_, _, err := s.Append([]byte(line + "\n"))
		return err
	}
	if err := put("a"); err != nil {
		t.Fatal(err)
	}
	for _, failing = range []string{"sync", "sync truncate"} { // with the second, bytes stay that were not synced
		for range 3 {
			if err := put("b " + failing); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), filepath.FromSlash("/journal/monitor.log")) {
				t.Fatalf("append while sync fails: %v", err)
			}
		}
		if got := handedOut(t, s); slices.ContainsFunc(got, func(l string) bool { return l == "b "+failing }) {
			t.Errorf("a line that is not durable was handed out: %q", got)
		}
		was := failing
		failing = ""
		if err := put("b " + was); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"a", "b sync", "b sync truncate"}
	if got := handedOut(t, s); !slices.Equal(got, want) {
		t.Errorf("handed out %q, want %q", got, want)
	}
	texts := segments(t, d.Cut(0))
	if len(texts) != len(want) {
		t.Fatalf("%d segments after a power cut, want one for each time that sync failed: %q", len(texts), texts)
	}
	for i, text := range texts {
		if !strings.HasSuffix(text, want[i]+"\n") || strings.Count(text, "\n") != 2 {
			t.Errorf("segment %d: %q, want its header and %q", i, text, want[i])
		}
	}
}

// TestARefusingDiskLeavesNoHeapOfSegments: an attempt to append does not seal a segment
// that holds no line.
func TestARefusingDiskLeavesNoHeapOfSegments(t *testing.T) {
	for _, kind := range []string{"write", "sync"} {
		for _, lane := range []string{journal.Live, ""} { // the ledger's segments have no header
			d := disktest.New()
			failing := false
			d.Before = func(op disktest.Op) error {
				if failing && op.Kind == kind {
					return syscall.ENOSPC
				}
				return nil
			}
			s, err := journal.OpenSeries(journal.Config{Disk: d, Dir: "/journal", Base: "monitor.log", Lane: lane, CutSize: 1 << 20}, quiet)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			put := func(line string) error {
				_, _, err := s.Append([]byte(line))
				return err
			}
			if err := put("a\n"); err != nil {
				t.Fatal(err)
			}
			failing = true
			for range 50 {
				if put("b\n") == nil {
					t.Fatalf("%s fails, append does not", kind)
				}
			}
			failing = false
			if err := put("b\n"); err != nil {
				t.Fatal(err)
			}
			texts := segments(t, d.Cut(0))
			if n := len(texts); n > 2 {
				t.Errorf("%s, lane %q: %d segments after 50 attempts", kind, lane, n)
			}
			if text := strings.Join(texts, ""); strings.Count(text, "a\n") != 1 || strings.Count(text, "b\n") != 1 {
				t.Errorf("%s, lane %q: %q", kind, lane, texts)
			}
		}
	}
}
