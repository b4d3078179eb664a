// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// analyzed runs systemd-analyze on the packaged unit, with /bin/true in place of
// certpush, and returns its output.
func analyzed(t *testing.T, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("systemd-analyze is not installed")
		}
		t.Skip("systemd-analyze is not installed: apt install systemd")
	}
	dir := t.TempDir()
	unit := filepath.Join(dir, "certpush.service")
	// `systemd-analyze verify` wants the program to be there.
	text := strings.ReplaceAll(Unit, "/usr/bin/certpush", "/bin/true")
	if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, append(args, unit)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func TestUnitKeepsItsPromises(t *testing.T) {
	if out := analyzed(t, "security", "--offline=true", "--threshold=20"); !strings.Contains(out, "OK") {
		t.Error(out)
	}
	if out := analyzed(t, "verify", "--man=no"); out != "" {
		t.Error(out)
	}
	lines := strings.Split(Unit, "\n")
	for _, want := range []string{
		"Type=notify", "User=certpush", "StateDirectory=certpush", "Restart=on-failure", "ProtectHome=read-only", "LimitCORE=0", "NoNewPrivileges=yes",
		"AmbientCapabilities=CAP_DAC_READ_SEARCH CAP_LEASE", "CapabilityBoundingSet=CAP_DAC_READ_SEARCH CAP_LEASE",
		"NoExecPaths=/", "ExecPaths=/usr/bin/certpush /usr/lib /lib /lib64",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
	if !strings.Contains(Unit, "\nRestartPreventExitStatus=78") {
		t.Error("a wrong configuration is started again and again")
	}
}
