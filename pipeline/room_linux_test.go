// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/scan/scantest"
)

// cannot skips a test that needs a real component. In CI it fails the test.
func cannot(t testing.TB, why string, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s: %v", why, err)
	}
	t.Skipf("%s: %v", why, err)
}

// smallDisk mounts a new file system of size MiB until the test ends.
func smallDisk(t testing.TB, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("certpush-test", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", size)); err != nil {
		cannot(t, "no file system can be mounted here (it takes root)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillUp writes a file until only left bytes are free. free removes the file.
func fillUp(t testing.TB, dir string, left int64) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n := 1 << 20; n > 0; {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		room := int64(st.Bavail)*st.Bsize - left
		if left > 0 && room <= 0 {
			break
		}
		if left > 0 {
			n = int(min(room, 1<<20))
		}
		switch _, err := f.Write(make([]byte, n)); {
		case errors.Is(err, syscall.ENOSPC):
			n /= 2
		case err != nil:
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// says waits until the error of Ready contains all of words.
func (l *lab) says(words ...string) {
	l.t.Helper()
	l.until(fmt.Sprintf("Ready to say %q; it says: %v", words, l.p.Ready()), func() bool {
		err := l.p.Ready()
		for _, w := range words {
			if err == nil || !strings.Contains(err.Error(), w) {
				return false
			}
		}
		return true
	})
}

// allOnce waits until each path has an outcome. It fails the test unless each has
// exactly one line and one outcome, clean.
func (l *lab) allOnce(paths []string) {
	l.t.Helper()
	l.judged(paths...)
	l.until("nothing waits", func() bool { return l.p.Status().Scanners[0].Waiting == 0 })
	count := map[string]int{}
	for _, o := range l.ledgerLines() {
		if o["outcome"] != sample.Done || o["verdict"] != string(scan.Clean) {
			l.t.Errorf("%v", o)
		}
		count[fmt.Sprint(o["path"])]++
	}
	for _, path := range paths {
		if count[path] != 1 {
			l.t.Errorf("%s has %d outcomes in the ledger", path, count[path])
		}
	}
	if n := len(l.lines("live")) + len(l.lines("backlog")); n != len(paths) {
		l.t.Errorf("%d lines for %d files", n, len(paths))
	}
}

// stopWith stops the pipeline. Its error may be that the disk still refuses.
func (l *lab) stopWith(refusal error) {
	l.t.Helper()
	l.stop()
	l.stop = nil
	select {
	case err := <-l.done:
		if err != nil && !errors.Is(err, refusal) {
			l.t.Errorf("stop: %v", err)
		}
	case <-time.After(patience):
		l.t.Fatal("the pipeline did not stop")
	}
}

func (l *lab) wants(words ...string) {
	l.t.Helper()
	for _, w := range words {
		if !strings.Contains(l.logged(), w) {
			l.t.Errorf("the log does not say %q", w)
		}
	}
}

// TestTheDiskIsFull: no byte is free on the disk of the state. The service lives on and
// says what is wrong and where. The workers hold their verdicts. When there is room
// again, a sweep takes in the missed files, and nothing is lost or done twice.
func TestTheDiskIsFull(t *testing.T) {
	for name, restart := range map[string]bool{"for a while": false, "over a start": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := smallDisk(t, 24)
			d := scantest.Start(t, "unix")
			l := newLab(t, clamd(d.Addr()), func(c *Config) { c.State = filepath.Join(dir, "state") })
			l.start()
			l.swept()
			var paths []string
			drop := func(n int) {
				for range n {
					paths = append(paths, l.write(fmt.Sprintf("d/%d", len(paths)), fmt.Sprintf("sample %d", len(paths))))
				}
			}
			drop(3)
			l.judged(paths...)
			d.Set(scantest.Refuse)
			drop(40)
			l.until("40 that wait", func() bool { return l.p.Status().Scanners[0].Waiting == 40 })
			free := fillUp(t, dir, 0)
			drop(60) // more lines than fit in the last page of a segment
			l.says("intake is stopped", l.c.State, "no space left on device")
			d.Set(scantest.Proper)
			l.says("the ledger cannot be written", filepath.Join(l.c.State, "ledger"), "no space left on device")
			if s := l.p.Status().Scanners[0]; s.InFlight > 2 || s.Waiting == 0 {
				t.Errorf("with a ledger that cannot be written: %+v", s)
			}
			select {
			case err := <-l.done:
				t.Fatalf("the service ended: %v", err)
			default:
			}
			if restart { // in the same process, as a reload does
				l.stopWith(syscall.ENOSPC)
				l.start()
				l.until("a word of it", func() bool {
					err := l.p.Ready()
					return err != nil && (strings.Contains(err.Error(), "cannot be opened") || strings.Contains(err.Error(), "intake is stopped"))
				})
			}
			free()
			l.allOnce(paths)
			l.until("ready", func() bool { return l.p.Ready() == nil })
			l.wants("intake stops", "free some space", "the ledger cannot be written")
			if !restart {
				l.wants("intake goes on", "the ledger can be written again")
			}
		})
	}
}

// TestMinFreeIsReached on a real disk: intake stops, pushing goes on within the
// reserve. When there is room again, a sweep takes in files of which no event tells.
func TestMinFreeIsReached(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, 32)
	d := scantest.Start(t, "unix")
	l := newLab(t, clamd(d.Addr()), func(c *Config) {
		c.State, c.Journal.MinFree = filepath.Join(dir, "state"), 10<<20
	})
	l.start()
	l.swept()
	d.Set(scantest.Refuse)
	var paths []string
	for i := range 20 {
		paths = append(paths, l.write(fmt.Sprint("before", i), fmt.Sprint(i)))
	}
	l.until("20 that wait", func() bool { return l.p.Status().Scanners[0].Waiting == 20 })
	free := fillUp(t, dir, 5<<20)
	l.says("intake is stopped", "min_free is 10 MiB")
	var late []string
	for i := range 5 {
		late = append(late, l.write(fmt.Sprint("late", i), fmt.Sprint("late", i)))
	}
	d.Set(scantest.Proper)
	l.judged(paths...)
	if n := len(l.lines("live")) + len(l.lines("backlog")); n != len(paths) {
		t.Errorf("%d lines below min_free, there were %d before", n, len(paths))
	}
	if err := l.p.Ready(); err == nil {
		t.Error("ready below min_free")
	}
	free()
	l.allOnce(append(paths, late...))
	l.until("ready", func() bool { return l.p.Ready() == nil })
	l.wants("intake stops", filepath.Join(l.c.State, "journal"), "intake goes on")
}

// imageDisk mounts a new ext4. abort makes the kernel remount it read-only, as it does
// after an error of the disk. again mounts a copy of it in another folder, because an
// index that its disk refuses stays open until the process ends, and the test's process
// does not end.
func imageDisk(t testing.TB) (dir string, abort func(), again func() string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	run := func(name string, args ...string) error {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %q: %w: %s", name, args, err, out)
		}
		return nil
	}
	mount := func(image string) (string, error) {
		dir := t.TempDir()
		err := run("mount", "-o", "loop,errors=remount-ro", image, dir)
		if err == nil {
			t.Cleanup(func() {
				if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
		}
		return dir, err
	}
	err := os.WriteFile(image, nil, 0o600)
	if err == nil {
		err = os.Truncate(image, 48<<20)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err = run("mkfs.ext4", "-q", image); err == nil {
		dir, err = mount(image)
	}
	if err != nil {
		cannot(t, "no file system can be made and mounted here (it takes root, e2fsprogs and a loop device)", err)
	}
	abort = func() {
		if err := run("mount", "-o", "remount,abort", dir); err != nil {
			t.Fatal(err)
		}
	}
	return dir, abort, func() string {
		if err := run("cp", image, image+".copy"); err != nil {
			t.Fatal(err)
		}
		dir, err := mount(image + ".copy")
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
}

// TestTheDiskMayOnlyBeRead: the kernel remounts the state's disk read-only, as it does
// after an error. The service lives on and says what is wrong and where. A start on
// such a disk waits until it can be written. Then a sweep takes in the missed files.
func TestTheDiskMayOnlyBeRead(t *testing.T) {
	t.Parallel()
	dir, abort, again := imageDisk(t)
	d := scantest.Start(t, "unix")
	l := newLab(t, clamd(d.Addr()), func(c *Config) { c.State = filepath.Join(dir, "state") })
	l.start()
	l.swept()
	var paths []string
	drop := func(n int) {
		for range n {
			paths = append(paths, l.write(fmt.Sprint(len(paths)), fmt.Sprintf("sample %d", len(paths))))
		}
	}
	drop(3)
	l.judged(paths...)
	d.Set(scantest.Refuse)
	drop(5)
	l.until("5 that wait", func() bool { return l.p.Status().Scanners[0].Waiting == 5 })
	abort()
	drop(5)
	l.says("intake is stopped", l.c.State, "read-only file system")
	d.Set(scantest.Proper)
	l.says("the ledger cannot be written", "read-only file system")
	l.stopWith(syscall.EROFS)
	if n := len(l.outcomes()); n != 3 {
		t.Errorf("%d outcomes, no more than 3 could be recorded", n)
	}
	dir = again()
	l.c.State = filepath.Join(dir, "state")
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.says("the state cannot be opened", l.c.State, "read-only file system")
	if err := l.p.Ready(); err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("ready: %v", err)
	}
	// A look must not take the locks meanwhile.
	if _, err := l.p.Why(t.Context(), paths[0]); !errors.Is(err, errOpening) {
		t.Errorf("why, while it opens: %v", err)
	}
	drop(2)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	l.allOnce(paths)
	l.until("ready", func() bool { return l.p.Ready() == nil })
	l.wants("intake stops", "the ledger cannot be written", "the state cannot be opened", "the state is open")
	l.halt() // before its disk is unmounted
}
