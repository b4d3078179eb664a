// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/service"
)

// TestProbesAreAnsweredWhileTheStateCannotBeOpened: the page that says what is wrong is
// served from the start and writes nothing. It takes orders when there is a token.
func TestProbesAreAnsweredWhileTheStateCannotBeOpened(t *testing.T) {
	t.Parallel()
	file, addr := configured(t, t.TempDir())
	state := filepath.Join(filepath.Dir(file), "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("certpush-test", state, "tmpfs", 0, "size=64m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("no file system can be mounted here (it takes root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(state, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", state, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	r := started(t, built(t), addr, "run", "-c", file)
	r.says("admin endpoint is open")
	ask := func(page string) (int, string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+page, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, string(text)
	}
	if code, text := ask("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "read-only file system") || !strings.Contains(text, state) {
		t.Errorf("readyz: %d %s", code, text)
	}
	for _, page := range []string{"/healthz", "/metrics", "/api/v1/status", "/"} {
		if code, text := ask(page); code != http.StatusOK {
			t.Errorf("%s: %d %s", page, code, text)
		}
	}
	remount(0)
	r.ready(time.Minute)
	// The token is made a moment after the state is open.
	for late := time.Now().Add(time.Minute); ; {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/api/v1/sweep", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token, err := os.ReadFile(filepath.Join(state, "admin.token")); err == nil {
			q.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		}
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if a.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("an order is answered with %d", a.StatusCode)
		}
	}
	r.stop()
}

// TestAMistakeIsAnErrorInTheJournal: a message that ends the process before its log is
// open has the priority of an error in the journal, on each line. On a terminal it has
// none.
func TestAMistakeIsAnErrorInTheJournal(t *testing.T) {
	t.Parallel()
	program := built(t)
	for name, journal := range map[string]bool{"journal": true, "terminal": false} {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd := exec.Command(program, "run", "-c", filepath.Join(t.TempDir(), "none.toml"))
		cmd.Stderr = f
		if journal {
			var st unix.Stat_t
			if err := unix.Fstat(int(f.Fd()), &st); err != nil {
				t.Fatal(err)
			}
			cmd.Env = append(os.Environ(), fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, st.Ino))
		}
		if err := cmd.Run(); err == nil {
			t.Error("it ran without a configuration")
		}
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "<3>") != journal {
				t.Errorf("%s: %q", name, line)
			}
		}
		if len(text) == 0 {
			t.Errorf("%s: nothing is said", name)
		}
	}
}

// TestWhatTheUnitForbidsEndsTheStart: if only the unit forbids writing the state,
// waiting does not help. The start ends, and the message says what to do. It also names
// a private /tmp in the place of a tree.
func TestWhatTheUnitForbidsEndsTheStart(t *testing.T) {
	t.Parallel()
	unshare := tool(t, "unshare", "apt install util-linux")
	program := built(t)
	dir := t.TempDir()
	for _, sub := range []string{"state", "tree", "systemd-private-x/tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "certpush.toml")
	text := fmt.Sprintf("state = %q\n[admin]\nlisten = \"off\"\n[[watch]]\npath = %q\n[scanner.none]\ntype = \"discard\"\n", filepath.Join(dir, "state"), filepath.Join(dir, "tree"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mounts, says string
		ends         bool
	}{
		{"mount --bind state state; mount -o remount,bind,ro state", "certpush service dropin prints the ReadWritePaths=", true},
		{"mount --bind systemd-private-x/tmp tree", "PrivateTmp=yes in the unit puts another", false},
	} {
		cmd := exec.Command(unshare, "-m", "sh", "-ec", c.mounts+"; exec timeout 5 "+program+" run -c "+file)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "INVOCATION_ID=0123456789abcdef0123456789abcdef")
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "unshare failed") && os.Getenv("CI") != "true" {
			t.Skipf("no mounts of its own here (it takes root): %s", out)
		}
		if !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %v, it says\n%s", c.mounts, err, out)
		}
		if code := cmd.ProcessState.ExitCode(); c.ends != (code == service.ExitConfig) {
			t.Errorf("%s: exit %d\n%s", c.mounts, code, out)
		}
	}
}
