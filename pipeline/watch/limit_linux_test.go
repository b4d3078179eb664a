// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestWatchLimit starts a second process in its own user namespace, where it may set the
// watch limit.
func TestWatchLimit(t *testing.T) {
	const inside = "CERTPUSH_TEST_WATCH_LIMIT"
	if os.Getenv(inside) != "" {
		eachByFolder(t, underLimit)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestWatchLimit$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		if len(out) == 0 {
			t.Skipf("no user namespace to be had here: %v", err)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("the second process could not: %s", out)
	}
}

func underLimit(t *testing.T, engine string) {
	const limit = "/proc/sys/user/max_inotify_watches"
	if err := os.WriteFile(limit, []byte("20"), 0o644); err != nil {
		t.Skipf("the limit cannot be set: %v", err)
	}
	dir := t.TempDir()
	for i := range 50 {
		write(t, filepath.Join(dir, fmt.Sprint(i), "f"), "x")
	}
	r := receive(t, Tree{Name: "t", Path: dir, Engine: engine})
	eventually(t, "all files, by sweep", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.index) == 50
	})
	eventually(t, "the first sweep", r.idle)
	s := r.w.State()[0]
	if s.Directories != 20 || s.Unwatched != 31 || !strings.Contains(s.Limit, "max_user_watches to at least 51") {
		t.Errorf("state %+v", s)
	}
	r.w.trees[0].doubtUnwatched()
	eventually(t, "the doubt", func() bool { return r.doubted(WhyLimit) })
	if err := os.WriteFile(limit, []byte("100"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.w.Ask(0, dir)
	eventually(t, "the missing watches", func() bool { return r.w.State()[0].Unwatched == 0 })
	if s := r.w.State()[0]; s.Directories != 51 || s.Limit != "" {
		t.Errorf("state %+v", s)
	}
	file := filepath.Join(dir, "49", "g")
	write(t, file, "x")
	eventually(t, "an event", func() bool { return r.has(file) })
}
