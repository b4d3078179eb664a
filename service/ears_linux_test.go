// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certpush/certpush/pipeline"
)

// asRoot skips a test that needs root, and fanotify. In CI, as root, fanotify must be there.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can open an ear")
	}
	if err := pipeline.TryEar(t.TempDir()); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// manager is the socket at which a service manager is told things. It answers barriers.
type manager struct {
	*net.UnixConn
	t *testing.T
}

func newManager(t *testing.T) manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return manager{conn, t}
}

// told returns what it is told until the barrier, with the files.
func (m manager) told() (texts []string, files []*os.File) {
	for {
		text, rights := make([]byte, 4096), make([]byte, 4096)
		n, r, _, _, err := m.ReadMsgUnix(text, rights)
		if err != nil {
			m.t.Error(err)
			return texts, files
		}
		control, err := unix.ParseSocketControlMessage(rights[:r])
		if err != nil {
			m.t.Error(err)
		}
		var f *os.File
		for _, c := range control {
			fds, err := unix.ParseUnixRights(&c)
			if err != nil || len(fds) != 1 {
				m.t.Error(fds, err)
			}
			f = os.NewFile(uintptr(fds[0]), "handed")
		}
		if string(text[:n]) == "BARRIER=1" {
			f.Close()
			return texts, files
		}
		texts = append(texts, strings.ReplaceAll(string(text[:n]), "\n", " "))
		if f != nil {
			files = append(files, f)
		}
	}
}

// The helper leaves one ear for all trees of a file system, and it hears. It takes an old
// one away before. A tree that cannot be heard keeps no other from it.
func TestEarsAreLeftWithTheManager(t *testing.T) {
	asRoot(t)
	m := newManager(t)
	dir := t.TempDir()
	text := ""
	for _, tree := range []string{"a", "b", "gone"} {
		text += fmt.Sprintf("[[watch]]\npath = %q\nengine = \"fanotify\"\n", filepath.Join(dir, tree))
		if tree == "gone" {
			break
		}
		if err := os.Mkdir(filepath.Join(dir, tree), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "certpush.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- LeaveEars(Flags{File: file}, &out) }()
	texts, files := m.told()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("FDNAME=ear-%d-%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	if want := []string{"FDSTOREREMOVE=1 " + name, "FDSTORE=1 " + name}; fmt.Sprint(texts) != fmt.Sprint(want) || len(files) != 1 {
		t.Fatalf("told %q with %d files, want %q", texts, len(files), want)
	}
	if !strings.Contains(out.String(), "gone cannot be heard by fanotify") {
		t.Errorf("said %q", out.String())
	}
	defer files[0].Close()
	if err := os.WriteFile(filepath.Join(dir, "b", "heard"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	events := make([]byte, 1<<20)
	for seen := false; !seen; {
		n, err := files[0].Read(events)
		if err != nil {
			t.Fatal(err)
		}
		seen = bytes.Contains(events[:n], []byte("heard\x00"))
	}

	// A configuration that others may write does not choose what root opens.
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := LeaveEars(Flags{File: file}, &out); err == nil || !strings.Contains(err.Error(), "written by others than root") {
		t.Errorf("LeaveEars: %v", err)
	}
}

// Nor does a named pipe that another user put in the place of the configuration.
func TestAPlantedPipeIsNoConfiguration(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root trusts less than others")
	}
	file := filepath.Join(t.TempDir(), "certpush.toml")
	if err := errors.Join(unix.Mkfifo(file, 0o600), os.Lchown(file, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pipe, err := os.OpenFile(file, os.O_WRONLY, 0) // it waits for the reader
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = pipe.WriteString("# of another user\n") // the reader may be gone
		pipe.Close()
	}()
	_, err := Load(Flags{File: file})
	<-ended
	if Code(err) != ExitPermission {
		t.Errorf("a pipe of another user is read: %v", err)
	}

	// A pipe of the shell's is one without a name.
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if _, err := write.WriteString("# our own\n"); errors.Join(err, write.Close()) != nil {
		t.Fatal(err)
	}
	if _, err := Load(Flags{File: fmt.Sprintf("/dev/fd/%d", read.Fd())}); err != nil {
		t.Errorf("a pipe of ours is refused: %v", err)
	}
}

// On the way to a tree root follows its own links, and nobody else's.
func TestEarsFollowNoPlantedLink(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "real", "t"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, owner := range map[string]int{"own": 0, "planted": 65534} {
		at := filepath.Join(dir, link)
		if err := errors.Join(os.Symlink("./../"+filepath.Base(dir)+"/real", at), os.Lchown(at, owner, owner)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"real/t": "", "own/t": "", "planted/t": "who would choose", "loop": "too many levels", "gone": "no such file"} {
		f, err := openByRoot(filepath.Join(dir, path))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if err != nil {
			continue
		}
		is, err := f.Stat()
		there, failed := os.Stat(filepath.Join(dir, "real", "t"))
		if errors.Join(err, failed) != nil || !os.SameFile(is, there) {
			t.Errorf("%s leads elsewhere: %v", path, errors.Join(err, failed))
		}
		f.Close()
	}
}

// What the manager hands over is taken by its name. What is handed to another process is
// not ours.
func TestEarsAreTakenFromTheManager(t *testing.T) {
	t.Setenv("LISTEN_FDS", "2")
	t.Setenv("LISTEN_FDNAMES", "other:other")
	t.Setenv("LISTEN_PID", "1")
	if ears, err := handedEars(); len(ears) != 0 || err != nil || os.Getenv("LISTEN_FDS") == "" {
		t.Errorf("of another process: %v, %v", ears, err)
	}
	t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	if ears, err := handedEars(); len(ears) != 0 || err != nil || os.Getenv("LISTEN_FDS") != "" {
		t.Errorf("of another name: %v, %v", ears, err)
	}
	// The numbers of descriptors are given, so the names are read without them.
	for name, want := range map[string]uint64{"ear-8-1": unix.Mkdev(8, 1), "ear-0-47": unix.Mkdev(0, 47)} {
		if dev, ok := earOf(name); !ok || dev != want || earName(dev) != name {
			t.Errorf("%s: %d, %t", name, dev, ok)
		}
	}
	for _, name := range []string{"", "other", "ear-", "ear-8", "ear-8-1-2", "ear-x-1", "xear-8-1"} {
		if _, ok := earOf(name); ok {
			t.Errorf("%q is taken", name)
		}
	}
}
