// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWritersAreNamed: those that have the file open for writing, each once, and nobody who
// reads it.
func TestWritersAreNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	for _, flags := range []int{os.O_CREATE | os.O_WRONLY, os.O_RDWR, os.O_RDONLY} {
		f, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	want := fmt.Sprintf(", pid %d", os.Getpid())
	if who := writersOf(path); len(who) != 1 || !strings.HasSuffix(who[0], want) || len(who[0]) == len(want) {
		t.Errorf("%q", who)
	}
	other := filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(other)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if who := slices.Concat(writersOf(other), writersOf(other+".not"), writersOf(filepath.Dir(other))); len(who) > 0 {
		t.Errorf("%q write what is only read", who)
	}
}
