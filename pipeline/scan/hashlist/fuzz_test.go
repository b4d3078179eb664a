// SPDX-License-Identifier: Apache-2.0

package hashlist

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzList: a list of arbitrary bytes is either read, or refused with the number of a
// line. If it is read, each SHA-256 that stands alone on a line is known.
func FuzzList(f *testing.F) {
	f.Add([]byte(eicarSum + "  eicar.com\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := readList(path)
		if err != nil {
			if l != nil || !strings.Contains(err.Error(), path+":") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for line := range bytes.Lines(text) {
			if sum, ok := parseSum(string(bytes.TrimSpace(line))); ok && l.names[sum] == "" {
				t.Fatalf("%q: %x is not known", text, sum)
			}
		}
		for sum, name := range l.names {
			if name == "" {
				t.Fatalf("%q: %x has no name", text, sum)
			}
		}
	})
}
