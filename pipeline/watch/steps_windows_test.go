// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"fmt"
	"os"
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
	}
	return fmt.Errorf("unknown step")
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
