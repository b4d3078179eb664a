// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/certpush/certpush/pipeline/internal/config"
)

// TestScanFollowsOnlyLinksOfTheOperator: those outside of the trees. Below a tree nobody
// knows who made a link.
func TestScanFollowsOnlyLinksOfTheOperator(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(base, filepath.FromSlash(name)) }
	for _, dir := range []string{"tree/sub", "other"} {
		if err := os.MkdirAll(in(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"tree/sub/file", "other/secret"} {
		if err := os.WriteFile(in(file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"tree/out": in("other"), "tree/secret": in("other/secret"), "short": in("tree"), "there": in("other"), "by": "there"} {
		if err := os.Symlink(to, in(link)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
		if _, err := os.Readlink(in(link)); err != nil {
			t.Skip("no symbolic links here:", err) // Wine reports success and makes none
		}
	}
	trees := []config.Tree{{Path: in("short")}}
	for arg, want := range map[string][2]string{
		"tree/sub/file": {"tree/sub/file", "tree"}, "tree/out/secret": {"tree/out/secret", "tree"}, "tree/secret": {"tree/secret", "tree"},
		"tree/out": {"tree/out", "tree"}, "other/secret": {"other/secret", "other"}, "other": {"other", "other"},
		"there": {"other", "other"}, "by/secret": {"other/secret", "other"}, "short/out/secret": {"tree/out/secret", "tree"}, "nothing": {"nothing", "."},
	} {
		path, beneath, err := placed(in(arg), trees)
		if err != nil || path != in(want[0]) || beneath != in(want[1]) {
			t.Errorf("%s: %s beneath %s, %v", arg, path, beneath, err)
		}
	}
	if err := os.Symlink("loop", in("loop")); err == nil {
		if _, _, err := placed(in("loop/x"), nil); err == nil {
			t.Error("a loop of links is resolved")
		}
	}
}
