// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// files makes n files of one byte below dir, in folders with up to a thousand files.
func files(t *testing.T, dir string, n int) {
	t.Helper()
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprint(i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStoppedProcessMissesNothing: 60,000 files (a third of them unless in a soak) are
// dropped while the process is halted, half of them in watched folders. That is too
// much for the kernel's queue; a sweep finds the files whose events were lost.
func TestStoppedProcessMissesNothing(t *testing.T) {
	if serve(t) {
		return
	}
	t.Parallel()
	sums, logged, n := stoppedProcess(t, full(20_000, 60_000))
	event, sweep := sums["certpush_files_seen_total event"], sums["certpush_files_seen_total sweep"]
	if sums["certpush_events_lost_total"] == 0 || sweep == 0 || event+sweep != float64(n) {
		t.Errorf("the metrics tell another story: %v", sums)
	}
	if !strings.Contains(logged, "events were lost, the tree will be swept") {
		t.Error("the log does not say that events were lost")
	}
}

// TestStoppedProcessByFanotify: the engine fanotify loses no event meanwhile, because the
// kernel's queue has no bound, and needs no sweep.
func TestStoppedProcessByFanotify(t *testing.T) {
	if serve(t) {
		return
	}
	t.Parallel()
	hearing(t)
	sums, _, n := stoppedProcess(t, full(20_000, 100_000), byFanotify)
	event, sweep := sums["certpush_files_seen_total event"], sums["certpush_files_seen_total sweep"]
	if sums["certpush_events_lost_total"] != 0 || sweep > stoppedFolders || event+sweep != float64(n) {
		t.Errorf("the metrics tell another story: %v", sums)
	}
}

// stoppedFolders is how many files are there before the process starts.
const stoppedFolders = 10

// stoppedProcess returns the metrics and the log of such a process, and how many files
// there were.
func stoppedProcess(t *testing.T, n int, with ...func(*exec.Cmd)) (sums map[string]float64, logged string, total int) {
	var queue int
	if text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events"); err != nil {
		t.Fatal(err)
	} else if _, err := fmt.Sscan(string(text), &queue); err != nil || queue > n {
		t.Fatalf("the kernel's queue holds %d events: it loses none; %v", queue, err)
	}
	drop := t.TempDir()
	const folders = stoppedFolders
	watched := func(i int) string {
		return filepath.Join(drop, fmt.Sprint("watched", i%folders), fmt.Sprint(i))
	}
	put := func(path string) {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range folders {
		if err := os.Mkdir(filepath.Dir(watched(i)), 0o755); err != nil {
			t.Fatal(err)
		}
		put(watched(i))
	}
	s := start2(t, drop, with...)
	s.await(folders)
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it stands still", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
		_, state, _ := strings.Cut(string(text), ") ")
		return err == nil && strings.HasPrefix(state, "T")
	})
	for i := range n / 2 {
		put(watched(folders + i))
	}
	files(t, filepath.Join(drop, "unknown"), n/2)
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.await(folders + n)
	sums = s.halt()
	if total, missed := s.missed(drop, true); total != folders+n || missed != 0 {
		t.Errorf("missed %d of %d files", missed, total)
	}
	t.Logf("seen by event %v, by sweep %v; lost %v times", sums["certpush_files_seen_total event"], sums["certpush_files_seen_total sweep"], sums["certpush_events_lost_total"])
	return sums, s.logged(), folders + n
}

// TestNestedFoldersInABurst: mkdir -p a/b/c and a file in it, 20,000 times in a soak;
// meanwhile the folder above is renamed. All files that are there in the end are done.
func TestNestedFoldersInABurst(t *testing.T) {
	if serve(t) {
		return
	}
	t.Parallel()
	n := full(1000, 20_000)
	drop := t.TempDir()
	files(t, filepath.Join(drop, "first"), 1)
	s := start2(t, drop)
	s.await(1)
	half := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		for i := range n {
			// The folder may be renamed at any moment: then make the path again.
			for ok := false; !ok; {
				dir := filepath.Join(drop, "burst", fmt.Sprint(i), "a", "b", "c")
				err := os.MkdirAll(dir, 0o755)
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600)
				}
				if ok = err == nil; !ok && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
					return
				}
			}
			if i == n/2 {
				close(half)
			}
		}
	})
	both.Go(func() {
		<-half
		for i := range 5 { // move it away; then its name is used again
			for os.Rename(filepath.Join(drop, "burst"), filepath.Join(drop, fmt.Sprint("renamed", i))) != nil {
			}
		}
	})
	both.Wait()
	s.until("every file's outcome", 100*time.Millisecond, func() bool { _, missed := s.missed(drop, false); return missed == 0 })
	sums := s.halt()
	total, missed := s.missed(drop, false)
	if total < n || missed != 0 {
		t.Errorf("missed %d of %d files", missed, total)
	}
	t.Logf("%d files, seen by event %v, by sweep %v", total, sums["certpush_files_seen_total event"], sums["certpush_files_seen_total sweep"])
}

// TestBeyondTheWatchLimit: 1,000 watches for 10,000 folders. Unless in a soak it takes
// 2,000 folders and asks for the sweep.
func TestBeyondTheWatchLimit(t *testing.T) {
	if serve(t) {
		return
	}
	t.Parallel()
	folders := full(2000, 10_000)
	const watches = 1000
	drop := t.TempDir()
	put := func(name string) {
		for i := range folders {
			dir := filepath.Join(drop, fmt.Sprint(i))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("before")
	s := start2(t, drop, ownNamespace(watches))
	s.await(folders)
	put("after")
	if os.Getenv("SOAK") == "" {
		s.sweep() // otherwise it comes by itself within a minute
	}
	s.await(2 * folders)
	sums := s.halt()
	if total, missed := s.missed(drop, true); total != 2*folders || missed != 0 {
		t.Errorf("missed %d of %d files", missed, total)
	}
	event, sweep := sums["certpush_files_seen_total event"], sums["certpush_files_seen_total sweep"]
	if event == 0 || event > watches || event+sweep != float64(2*folders) {
		t.Errorf("seen by event %v, by sweep %v", event, sweep)
	}
	if need := fmt.Sprintf("max_user_watches to at least %d", folders+1); !strings.Contains(s.logged(), need) {
		t.Errorf("the log does not say %q", need)
	}
}

// TestUnmountedAndMountedAgain: the tree, or a folder in it, is a mount point. Files
// that are dropped while it is not mounted are found when it is mounted again. Then
// events come again, and nothing was forgotten meanwhile.
func TestUnmountedAndMountedAgain(t *testing.T) {
	for _, engine := range []string{"inotify", "fanotify", "fsnotify"} {
		for name, rel := range map[string]string{"tree": ".", "folder": "a/b"} {
			t.Run(engine+"/"+name, func(t *testing.T) {
				t.Parallel()
				mountAgain(t, engine, rel)
			})
		}
	}
}

// hearing skips a test that needs the engine fanotify where it cannot be had. In CI, as
// root, it must be.
func hearing(t *testing.T) {
	t.Helper()
	err := TryEar(t.TempDir())
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" && os.Getuid() == 0 {
		t.Fatal(err)
	}
	t.Skip(err)
}

func mountAgain(t *testing.T, engine, rel string) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("only root can mount: run the tests as root")
		}
		t.Skip("only root can mount")
	}
	if engine == "fanotify" {
		hearing(t)
	}
	metrics := prometheus.NewRegistry()
	l := newLab(t, func(c *Config) { c.Registry, c.Trees[0].Engine = metrics, engine })
	point, away := filepath.Join(l.drop, rel), t.TempDir()
	if err := os.MkdirAll(point, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := func(source, at, kind string, flags uintptr) {
		t.Helper()
		if err := unix.Mount(source, at, kind, flags, ""); err != nil {
			t.Fatalf("mount at %s: %v", at, err)
		}
		t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) }) // if the test ended early
	}
	unmount := func(at string) {
		t.Helper()
		// A file may still be open.
		waitFor(t, "the unmount", func() bool { return unix.Unmount(at, 0) == nil })
	}
	var paths []string
	drop := func(dir, name string) {
		t.Helper()
		path := filepath.Join(dir, "sub", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.Join(point, "sub", name))
	}
	mount("none", away, "tmpfs", 0)
	mount(away, point, "", unix.MS_BIND)
	drop(point, "before the start")
	l.start()
	l.judged(paths...)
	for i := range 3 { // unmount the same file system and mount it again
		drop(point, fmt.Sprint("mounted ", i))
		l.judged(paths...)
		unmount(point)
		drop(away, fmt.Sprint("away ", i))
		if err := l.p.Sweep(""); err != nil { // it sweeps an empty mount point
			t.Fatal(err)
		}
		mount(away, point, "", unix.MS_BIND)
		l.judged(paths...)
	}
	unmount(away)
	for i := range 3 { // mount another file system in its place
		unmount(point)
		mount("none", away, "tmpfs", 0)
		drop(away, fmt.Sprint("another ", i))
		mount(away, point, "", unix.MS_BIND)
		unmount(away)
		l.judged(paths...)
	}
	// Now it is watched again, and no sweep is needed.
	before := sums(t, metrics)["certpush_samples_journaled_total live"]
	if s := l.p.Status().Trees[0]; s.Engine != engine {
		t.Errorf("the tree has engine %s: %s", s.Engine, s.Instead)
	}
	l.until("an event", func() bool {
		drop(point, fmt.Sprint("in the last ", len(paths)))
		l.judged(paths...)
		return sums(t, metrics)["certpush_samples_journaled_total live"] > before
	})
	l.halt()
	for _, path := range paths {
		if n := len(outcomesOf(l.outcomes(), path)); n != 1 {
			t.Errorf("%s: %d outcomes", path, n)
		}
	}
}

// TestPeriodicSweepSaysWhatItFound: a file is written under a name outside the tree, so
// no event tells of it. The periodic sweep finds it, and the metric and the log say so.
func TestPeriodicSweepSaysWhatItFound(t *testing.T) {
	t.Parallel()
	events := prometheus.NewRegistry()
	l := newLab(t, func(c *Config) { c.Registry, c.Trees[0].Sweep = events, -1 })
	path := l.write("in", "first")
	outside := filepath.Join(t.TempDir(), "out")
	if err := os.Link(path, outside); err != nil {
		t.Skipf("no hard link between two temporary folders: %v", err)
	}
	// A file that is noted within a grain of its ctime is hashed after it, and what is new is
	// found by that and not by the sweep.
	linked := time.Now()
	l.until("it is old enough", func() bool { return time.Since(linked) > 50*time.Millisecond })
	l.start()
	l.judged(path)
	l.swept()
	l.judged(l.write("told", "x"))
	if by := sums(t, events)["certpush_files_seen_total event"]; by != 1 {
		t.Errorf("seen by event: %v, want 1", by)
	}
	l.halt()
	metrics := prometheus.NewRegistry()
	l.c.Registry, l.c.Trees[0].Sweep = metrics, 100*time.Millisecond
	l.start()
	l.swept()
	before := sums(t, metrics)
	found := "level=WARN msg=swept tree=drop under=" + l.drop + " why=time"
	if strings.Contains(l.logged(), found) {
		t.Errorf("a sweep that found nothing is a warning:\n%s", l.logged())
	}
	if err := os.WriteFile(outside, []byte("second version"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.until("the second version", func() bool {
		o := outcomesOf(l.outcomes(), path)
		return len(o) > 1 && o[len(o)-1].Size == int64(len("second version"))
	})
	l.until("the log says so", func() bool { return strings.Contains(l.logged(), found) })
	after := sums(t, metrics)
	if by := after["certpush_files_seen_total sweep"] - before["certpush_files_seen_total sweep"]; by != 1 {
		t.Errorf("seen by sweep: %v more, want 1", by)
	}
	if after["certpush_files_seen_total event"] != 0 {
		t.Errorf("seen by event: %v", after)
	}
}
