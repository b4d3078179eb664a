// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline/internal/sample"
)

// farSide mounts a folder of its own at dir, by a real FUSE file system, and returns that
// folder. What is written in it raises no event in dir.
func farSide(t *testing.T, dir string) string {
	t.Helper()
	_, err := exec.LookPath("bindfs")
	if err == nil {
		_, err = os.Stat("/dev/fuse")
	}
	if err == nil && os.Geteuid() != 0 {
		err = os.ErrPermission
	}
	if err != nil {
		if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
			t.Fatalf("no FUSE file system: %v", err)
		}
		t.Skipf("no FUSE file system, install bindfs and be root: %v", err)
	}
	far := t.TempDir()
	mountFar(t, far, dir)
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return far
}

// mountFar mounts without a cache: another host's write would not clear ours.
func mountFar(t *testing.T, far, dir string) {
	t.Helper()
	if out, err := exec.Command("bindfs", "-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0", far, dir).CombinedOutput(); err != nil {
		t.Fatalf("bindfs: %v: %s", err, out)
	}
}

// TestWhatIsWrittenOnTheFarSideIsFound: no event tells of it, so sweeps come in seconds,
// and the status says so. An unmount and a
// mount are noticed, and push nothing again.
func TestWhatIsWrittenOnTheFarSideIsFound(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	far := farSide(t, l.drop)
	l.c.Trees[0].Adapts, l.c.Trees[0].Sweep = true, time.Hour
	l.start()
	l.swept()
	l.until("the kind of its file system", func() bool { return l.p.Status().Trees[0].Elsewhere == "fuse" })
	l.until("a sweep in seconds", func() bool {
		next := l.p.Status().Trees[0].NextSweep
		return next != nil && time.Until(*next) < time.Minute
	})
	found := func(name, text string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(far, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(far, name), []byte(text), 0o644))
		path := filepath.Join(l.drop, name)
		was := len(outcomesOf(l.outcomes(), path))
		l.until("what was written into "+name, func() bool {
			all := outcomesOf(l.outcomes(), path)
			return len(all) > was && all[len(all)-1].Outcome == sample.Done && all[len(all)-1].SHA256 == sumOf(text)
		})
	}
	found("new/a", "one")
	found("new/a", "another text") // in place: the folder has the same mtime

	must(t, unix.Unmount(l.drop, unix.MNT_DETACH))
	l.until("the unmount", func() bool { return l.p.Status().Trees[0].Elsewhere == "" })
	must(t, os.WriteFile(filepath.Join(far, "b"), []byte("while it was away"), 0o644))
	mountFar(t, far, l.drop)
	l.until("the mount", func() bool { return l.p.Status().Trees[0].Elsewhere == "fuse" })
	path := filepath.Join(l.drop, "b")
	l.until("what was written while it was away", func() bool { return len(outcomesOf(l.outcomes(), path)) == 1 })
	if all := outcomesOf(l.outcomes(), filepath.Join(l.drop, "new/a")); len(all) != 2 {
		t.Errorf("pushed again for a mount: %+v", all)
	}
}
