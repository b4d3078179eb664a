// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

// coarse mounts a file system whose times step by kernel ticks.
func coarse(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("ramfs", dir, "ramfs", 0, ""); err != nil {
		t.Skipf("cannot mount a ramfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// seconds mounts a file system whose times have no nanoseconds.
func seconds(t *testing.T) string {
	t.Helper()
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	if f, err := os.Create(image); err != nil || f.Truncate(16<<20) != nil || f.Close() != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{"mkfs.ext4", "-q", "-I", "128", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("cannot make such a file system: %v: %s", err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func shaOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// pushed reports whether a scanner judged text as the bytes of path.
func (l *lab) pushed(path, text string) bool {
	return slices.ContainsFunc(outcomesOf(l.outcomes(), path), func(o sample.Outcome) bool {
		return o.Outcome == sample.Done && o.SHA256 == shaOf(text)
	})
}

// TestRewriteWithinOneGrainIsPushed: a file that is written again before the clock of its
// file system steps keeps its version. Its last bytes reach the scanner all the same.
func TestRewriteWithinOneGrainIsPushed(t *testing.T) {
	for name, mount := range map[string]func(*testing.T) string{"ticks": coarse, "seconds": seconds} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.drop = mount(t)
			l.c.Trees[0].Path = l.drop
			l.start()
			l.swept()
			const files = 150
			for i := range files {
				path := l.write(fmt.Sprint("f", i), "good")
				// Most of the rewrites come between the push and the next tick.
				for until := time.Now().Add(3 * time.Millisecond); time.Now().Before(until) && !l.pushed(path, "good"); {
				}
				if err := os.WriteFile(path, []byte("evil"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for i := range files {
				path := filepath.Join(l.drop, fmt.Sprint("f", i))
				l.until("the last bytes of "+path, func() bool { return l.pushed(path, "evil") })
			}
		})
	}
}

// TestSingleWritesArePushedOnce on a file system with a coarse clock, although most of
// them are young when they are noted, also by a sweep and by the next start.
func TestSingleWritesArePushedOnce(t *testing.T) {
	l := newLab(t)
	l.drop = coarse(t)
	l.c.Trees[0].Path = l.drop
	l.start()
	l.swept()
	files := 2000
	if testing.Short() {
		files = 200
	}
	for i := range files {
		l.write(fmt.Sprint(i%10, "/f", i), fmt.Sprint("text ", i))
	}
	l.await(files)
	again := func() {
		before := *l.p.Status().Trees[0].LastSweep
		if err := l.p.Sweep(""); err != nil {
			t.Fatal(err)
		}
		l.until("the sweep", func() bool { return l.p.Status().Trees[0].LastSweep.After(before) })
	}
	again()
	l.halt()
	l.start()
	l.swept()
	again()
	last := l.write("last", "last")
	l.until("the last file", func() bool { return l.pushed(last, "last") })
	if n := len(l.outcomes()); n > files+1+files/100 {
		t.Errorf("%d pushes of %d files", n, files+1)
	}
}
