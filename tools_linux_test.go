// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// tool returns the path of a program on this machine. If it is missing the test is
// skipped, but in CI it fails.
func tool(t *testing.T, name, where string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("%s is not there: %s", name, where)
	}
	if err != nil {
		t.Skipf("%s is not there: %s", name, where)
	}
	return path
}

// TestCompletionsAreParsed by each shell.
func TestCompletionsAreParsed(t *testing.T) {
	program := built(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			path := tool(t, shell, "apt install "+shell)
			text, err := exec.Command(program, "completion", shell).Output()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "completion")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(path, "-n", file).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestAlertingRulesAreParsed(t *testing.T) {
	promtool := tool(t, "./.tools/promtool", "make deps, as root on Debian")
	if out, err := exec.Command(promtool, "check", "rules", "packaging/monitoring/certpush.rules.yml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestTheFirstOfEachKindRaisesItsAlert: the first malicious file, the first dead letter,
// a stopped intake and so on.
func TestTheFirstOfEachKindRaisesItsAlert(t *testing.T) {
	promtool := tool(t, "./.tools/promtool", "make deps, as root on Debian")
	if out, err := exec.Command(promtool, "test", "rules", "testdata/monitoring/rules_test.yml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
