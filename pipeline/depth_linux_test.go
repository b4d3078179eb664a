// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/watch"
)

// nest makes levels folders called name, each in the one before; the first is in dir.
// file gets the level of a folder, from 1, and reports whether to write a file f there.
// nest returns the paths of these files. At the end of the test the folders are removed
// level by level, because the last path is too long for a system call.
func nest(t *testing.T, dir, name string, levels int, file func(level int) bool) []string {
	t.Helper()
	t.Cleanup(func() { unnest(t, dir, name) })
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	rel := &strings.Builder{}
	var paths []string
	for i := range levels {
		must(t, unix.Mkdirat(at, name, 0o755))
		next, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		unix.Close(at)
		at = next
		rel.WriteString("/" + name)
		if file(i + 1) {
			fd, err := unix.Openat(at, "f", unix.O_CREAT|unix.O_WRONLY, 0o600)
			must(t, err)
			_, err = unix.Write(fd, []byte("x"))
			must(t, errors.Join(err, unix.Close(fd)))
			paths = append(paths, dir+rel.String()+"/f")
		}
	}
	must(t, unix.Close(at))
	return paths
}

// unnest removes the folders of nest. It moves the second level to the place of the
// first, again and again.
func unnest(t *testing.T, dir, name string) {
	top, up := filepath.Join(dir, name), filepath.Join(dir, "up")
	for {
		os.Remove(filepath.Join(top, "f")) // most folders have none
		err := os.Rename(filepath.Join(top, name), up)
		if err := os.Remove(top); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
			return
		}
		if err != nil {
			return
		}
		must(t, os.Rename(up, top))
	}
}

// TestThousandsOfLevels: a file below 5,000 folders (2,500 unless in a soak) is found,
// opened and judged. A folder whose path is too long to be swept is counted as skipped,
// once, and a proof says so.
func TestThousandsOfLevels(t *testing.T) {
	t.Parallel()
	metrics := prometheus.NewRegistry()
	l := newLab(t, func(c *Config) { c.Registry = metrics })
	deep := nest(t, l.drop, "d", full(2500, 5000), func(level int) bool { return level%500 == 0 })
	long := strings.Repeat("n", 255)
	far := nest(t, l.drop, long, 150, func(level int) bool { return level == 15 || level == 100 || level == 150 })
	paths := append(deep, far[:2]...) // the path of the last one has 38 KiB
	begun := time.Now()
	l.start()
	patiently(t, "all outcomes", 10*time.Millisecond, func() bool { return len(l.outcomes()) >= len(paths) })
	t.Logf("after %v", time.Since(begun))
	l.judged(paths...)
	l.until("it is said", func() bool {
		return sums(t, metrics)["certpush_files_skipped_total path_too_long"] == 1
	})
	proof, err := l.p.Verify(t.Context(), false)
	must(t, err)
	if !proof.Proven() || proof.Unaccounted != 0 || len(proof.Unread) != 0 || proof.TooLong != 1 || len(proof.Long) != 1 {
		t.Errorf("proof %+v", proof.Unaccounted)
	}
	begun = time.Now()
	l.halt()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("the stop took %v", took)
	}
	if n := len(l.outcomes()); n != len(paths) {
		t.Errorf("%d outcomes of %d files", n, len(paths))
	}
	if n := sums(t, metrics)["certpush_files_skipped_total path_too_long"]; n != 1 {
		t.Errorf("counted %v times", n)
	}
	for _, m := range l.ledgerLines() {
		if path, _ := m["path"].(string); !strings.HasPrefix(path, l.drop) {
			t.Errorf("%.100v", m)
		}
	}
}

// TestOneBadFolderBlindsOnlyItself: beside a chain of folders that is too long to be swept
// all else is forgotten when it is gone, and proven while it is there. The engines inotify and
// fanotify hear a folder whose path is only too long for one call of the system.
func TestOneBadFolderBlindsOnlyItself(t *testing.T) {
	for engine, watched := range map[string]bool{"fsnotify": false, "inotify": true, "fanotify": true} {
		t.Run(engine, func(t *testing.T) {
			if engine == "fanotify" {
				hearing(t)
			}
			oneBadFolder(t, engine, watched)
		})
	}
}

func oneBadFolder(t *testing.T, engine string, watched bool) {
	l := newLab(t)
	l.c.Trees[0].Engine = engine
	nest(t, l.drop, strings.Repeat("n", 255), 150, func(level int) bool { return level == 150 })
	gone, stays := l.write("a/b/gone", "1"), l.write("stays", "2")
	l.start()
	l.await(2)
	knows := func(path string) bool {
		_, ok, err := l.p.halves().producer.Index().Get(path)
		must(t, err)
		return ok
	}
	must(t, os.RemoveAll(filepath.Join(l.drop, "a")))
	must(t, l.p.Sweep(""))
	l.until("the folder is forgotten", func() bool { return !knows(gone) })
	if !knows(stays) {
		t.Error("what is there is forgotten")
	}
	proof := l.verify(false)
	if !proof.Proven() || proof.TooLong != 1 || len(proof.Long) != 1 {
		t.Errorf("proof %+v", proof)
	}
	s := l.p.Status().Trees[0]
	if s.TooLong != 1 || (s.Unwatched == 0) != watched {
		t.Errorf("status: %d too long, %d unwatched", s.TooLong, s.Unwatched)
	}
	if !watched && (len(s.Troubles) == 0 || !strings.Contains(s.Troubles[0].Error, "name too long")) {
		t.Errorf("troubles %+v", s.Troubles)
	}
	if !strings.Contains(l.logged(), "left out, for its path is too long") {
		t.Error("it is not in the log")
	}
}

// TestManyFilesInOneFolder: many files cost hardly more memory than a few, because they
// are taken in piece by piece. The consumer's memory is bounded by its queue.
func TestManyFilesInOneFolder(t *testing.T) {
	if serve(t) {
		return
	}
	t.Parallel()
	n := full(30_000, 1_000_000)
	drop := t.TempDir()
	for i := range n {
		must(t, os.WriteFile(filepath.Join(drop, fmt.Sprint(i)), []byte("x"), 0o600))
	}
	s := start2(t, drop, producerOnly)
	swept := fmt.Sprintf("why=start files=%d journaled=%d", n, n)
	s.until("the sweep at start", 20*time.Millisecond, func() bool { return strings.Contains(s.logged(), swept) })
	got := s.halt()
	t.Logf("%d files, %.0f MiB at most", n, got["peak"]/(1<<20))
	if got["certpush_files_seen_total sweep"] != float64(n) || got["peak"] > 400<<20 {
		t.Errorf("%v", got)
	}
}

// TestTimesThatLie: a file may have any time that a file system can hold.
func TestTimesThatLie(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/dev/shm", "certpush") // it has 64 bits of seconds; ext4 has 34
	if err != nil {
		t.Skipf("no tmpfs to be had here: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := newLab(t, func(c *Config) { c.Trees[0].Path = dir })
	l.drop = dir
	times := []watch.Time{
		{Sec: -11644473600, Nsec: 1}, {Sec: -1, Nsec: 999999999}, {}, {Sec: 1}, {Sec: 1<<31 - 1}, {Sec: 1 << 31}, {Sec: 32503680000}, {Sec: 1 << 40}, {Sec: 1<<63 - 1}, {Sec: -1 << 63},
	}
	want := map[string]watch.Time{}
	put := func(when string) {
		for i, at := range times {
			path := l.write(fmt.Sprint(when, i), "x")
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Sec: at.Sec, Nsec: int64(at.Nsec)}, {Sec: at.Sec, Nsec: int64(at.Nsec)}}, 0))
			st, err := watch.Lstat(path) // the file system may have changed the time
			must(t, err)
			want[path] = st.Mtime
		}
	}
	put("before")
	l.start()
	l.swept()
	put("after")
	last := func(path string) (at watch.Time) {
		for _, s := range append(l.lines("backlog"), l.lines("live")...) {
			if s.Path == path {
				at = s.Mtime
			}
		}
		return at
	}
	for path, at := range want {
		l.until(path, func() bool {
			o := outcomesOf(l.outcomes(), path)
			return last(path) == at && len(o) > 0 && o[len(o)-1].Outcome == sample.Done
		})
	}
	proof, err := l.p.Verify(t.Context(), false)
	must(t, err)
	if !proof.Proven() {
		t.Errorf("%+v", proof)
	}
	n := len(l.lines("live")) + len(l.lines("backlog"))
	l.halt()
	l.start() // nothing is pushed again
	l.swept()
	l.halt()
	if again := len(l.lines("live")) + len(l.lines("backlog")); again != n {
		t.Errorf("%d lines, after a restart %d", n, again)
	}
}

// TestSizesThatLie: a file in /sys says that it has 4096 bytes, and holds fewer. That
// is not a change, which would come again and again: the file cannot be read, and ends
// as a dead letter.
func TestSizesThatLie(t *testing.T) {
	t.Parallel()
	const dir = "/sys/kernel/mm/transparent_hugepage/khugepaged"
	if st, err := os.Stat(dir + "/defrag"); err != nil || st.Size() < 4096 {
		t.Skipf("no such file here: %v", err)
	}
	l := newLab(t, func(c *Config) {
		c.Trees[0] = config.Tree{Path: dir, Name: "sys", Include: []string{"defrag"}}
		c.Scanners = []config.Scanner{{Type: "hashlist", Tries: 2, BackoffFirst: time.Millisecond}}
	})
	l.start()
	o := l.await(1)[0]
	if o.Outcome != sample.Dead || !strings.HasPrefix(o.Reason, sample.ReasonUnreadable+": ") || !strings.Contains(o.Reason, "of 4096 bytes") {
		t.Errorf("%+v", o)
	}
}
