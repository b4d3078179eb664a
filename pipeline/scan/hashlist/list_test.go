// SPDX-License-Identifier: Apache-2.0

package hashlist

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOtherHashesAreRefusedByName: the message says what the list holds in place of SHA-256.
func TestOtherHashesAreRefusedByName(t *testing.T) {
	sum := func(n int) string { return strings.Repeat("a", n) }
	for text, want := range map[string]string{
		sum(32):                                  "holds an MD5",
		sum(32) + "  file":                       "holds an MD5",
		sum(40) + ",Trojan":                      "holds a SHA-1",
		sum(128):                                 "holds a SHA-512",
		"SHA256 (file name) = " + sum(64):        "BSD form",
		"MD5 (file) = " + sum(32):                "BSD form",
		"no hash at all":                         "no SHA-256",
		sum(64) + "  good\n" + sum(32) + "  bad": ":2: this line holds an MD5",
	} {
		path := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readList(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
