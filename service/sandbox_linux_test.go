// SPDX-License-Identifier: Apache-2.0

package service

import (
	"os"
	"path/filepath"
	"testing"
)

func TestLinksAreResolvedAsFarAsTheyLead(t *testing.T) {
	dir := Resolved(t.TempDir())
	for link, to := range map[string]string{"there": ".", "hidden": "/tmp/no-such-folder", "chain": "hidden", "round": "round"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"there/new":  dir + "/new",
		"hidden/sub": Resolved("/tmp") + "/no-such-folder/sub",
		"chain":      Resolved("/tmp") + "/no-such-folder",
		"round/x":    dir + "/round/x",
	} {
		if got := Resolved(filepath.Join(dir, path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
