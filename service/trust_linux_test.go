// SPDX-License-Identifier: Apache-2.0

package service

import (
	"os"
	"strings"
	"testing"
)

func TestRootRefusesAFileThatOthersMayWrite(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root refuses it")
	}
	path := written(t, short)
	for _, mode := range []os.FileMode{0o620, 0o602, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(Flags{File: path}); Code(err) != ExitPermission || !strings.Contains(err.Error(), "chmod go-w") {
			t.Errorf("%o: %v", mode, err)
		}
	}
}
