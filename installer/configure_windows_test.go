// SPDX-License-Identifier: Apache-2.0

package installer

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc/mgr"
)

// TestConfigureOfTheServiceManager registers a service and configures it. Wine does not
// know most settings; packaging/msi/acceptance.ps1 checks each of them on Windows.
func TestConfigureOfTheServiceManager(t *testing.T) {
	m, err := mgr.Connect()
	if err != nil {
		t.Skip("no right to register services:", err)
	}
	defer m.Disconnect()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.CreateService("certpush-test", exe, mgr.Config{StartType: mgr.StartAutomatic}, "run", "-c", `C:\Program Data\x.toml`)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer func() {
		if err := s.Delete(); err != nil {
			t.Error(err)
		}
	}()
	dir := t.TempDir()
	p := paths{exe: exe, folder: filepath.Join(dir, "state"), config: filepath.Join(dir, "state", "none.toml")}
	if err := os.Mkdir(p.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	r := scm{s}
	// Without quotes, as an installer may write it.
	if err := r.setImage(exe + ` run`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var out strings.Builder
		if err := configure(r, p, &out); err != nil {
			t.Fatal(err)
		}
		t.Log(out.String())
	}
	if image, err := r.image(); err != nil || image != `"`+exe+`" run` {
		t.Errorf("image path %s, %v", image, err)
	}
	if now, err := r.account(); err != nil || now != account {
		t.Errorf("account %s, %v", now, err)
	}
	// Our own file stays: nobody planted it.
	if err := os.WriteFile(p.config, []byte("# ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := adopt(p.config, io.Discard); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(p.config); err != nil || string(text) != "# ours" {
		t.Errorf("%q %v", text, err)
	}
	if _, err := os.ReadDir(p.folder); err != nil {
		t.Errorf("an administrator is locked out: %v", err)
	}
}

func TestRightsAreUnderstood(t *testing.T) {
	for _, sddl := range []string{folderRights(), configRights()} {
		sd, err := windows.SecurityDescriptorFromString(sddl)
		if err != nil {
			t.Fatalf("%s: %v", sddl, err)
		}
		if !sd.IsValid() {
			t.Error(sddl)
		}
	}
}
