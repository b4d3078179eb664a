// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"fmt"
	"os"
)

// special does the steps that only this system has, and none of those that it has
// not: a script with such a one has an output block for this system.
func (s *script) special(step string, args []string) error {
	switch step {
	case "write-long": // a name that the system would change without the prefix
		return put(long(s.path(args[0])), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, args[1])
	case "mkdir-long":
		return os.Mkdir(long(s.path(args[0])), 0o755)
	case "fifo", "socket", "tmpfile":
		return nil
	}
	return fmt.Errorf("unknown step")
}

// silent tells why engine is silent of old folders; nil if it is not.
func silent(engine string) error {
	if engine != "windows" {
		return nil
	}
	return selfTest(context.Background(), "")
}

// burst is how many files, four folders deep each, an engine takes at once. Wine
// takes 10 ms for each folder; and it can have 20,000 of them open in all.
func burst(string) int { return 100 }
