// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packaging/test-install.sh tests the whole installation under a real systemd.
func TestUnitByHandIsThePackagedOne(t *testing.T) {
	text := unit("/opt/certpush/certpush")
	for _, want := range []string{"\nExecStart=/opt/certpush/certpush run -c /etc/certpush.toml\n", "\nExecPaths=/opt/certpush/certpush ", "\nUser=certpush\n", "\nNoNewPrivileges=yes\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if strings.Contains(text, "/usr/bin/certpush") || strings.Contains(text, "{{") {
		t.Error(text)
	}
}

// A drop-in names the group of a socket. A socket for everybody needs no group; for a
// socket that is not there the drop-in says so.
func TestDropInNamesTheGroupOfASocket(t *testing.T) {
	dir, err := os.MkdirTemp("/run", "certpush-test")
	if err != nil {
		t.Skipf("a socket's path is short, and this needs root: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const daemon = 1
	if err := os.Chown(socket, 0, daemon); err != nil {
		t.Skipf("this needs root: %v", err)
	}
	for mode, want := range map[os.FileMode]string{0o660: "\nSupplementaryGroups=daemon\n", 0o666: "needs no drop-in", 0o600: "needs no drop-in"} {
		if err := os.Chmod(socket, mode); err != nil {
			t.Fatal(err)
		}
		if got := DropIn(Needs{Sockets: []string{socket}}); !strings.Contains(got, want) {
			t.Errorf("%o:\n%s", mode, got)
		}
	}
	if got := DropIn(Needs{Sockets: []string{filepath.Join(dir, "none")}}); strings.Contains(got, "Groups=") || !strings.Contains(got, "Start the scanner") {
		t.Error(got)
	}
}
