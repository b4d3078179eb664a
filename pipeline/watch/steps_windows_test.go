// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// special does a step that only this system has. A step that this system does not have is
// left out: a script with such a step has an output block for this system.
func (s *script) special(step string, args []string) error {
	switch step {
	case "write-long": // without its prefix the system would change the name
		return put(long(s.path(args[0])), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, args[1])
	case "mkdir-long":
		return os.Mkdir(long(s.path(args[0])), 0o755)
	case "fifo", "socket", "tmpfile":
		return nil
	case "heard":
		s.heard(s.path(args[0]))
		return nil
	}
	return fmt.Errorf("unknown step")
}

// heard waits until events come from a folder that was moved into the tree. Under Wine that
// is a moment after the event of the folder itself.
func (s *script) heard(folder string) {
	s.t.Helper()
	var cookies []string
	eventually(s.t, "events from "+folder, func() bool {
		if slices.ContainsFunc(cookies, s.r.has) {
			return true
		}
		if len(cookies) < 100 {
			cookies = append(cookies, filepath.Join(folder, fmt.Sprintf("cookie-%d.bin", len(cookies))))
			if err := os.WriteFile(cookies[len(cookies)-1], nil, 0o600); err != nil {
				s.t.Fatal(err)
			}
		}
		return false
	})
}

// silent returns nil if engine reports events of folders that were made before it began,
// and otherwise why it does not.
func silent(engine string) error {
	if engine != "windows" {
		return nil
	}
	return selfTest(context.Background(), "")
}

// burst returns how many files, each four folders deep, a test makes at once. Wine takes
// 10 ms for each folder, and can have 20,000 folders open.
func burst(string) int { return 100 }

// able skips a test whose engine cannot be had here.
func able(testing.TB, string) {}
