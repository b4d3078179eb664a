// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !windows

package watch

import (
	"errors"
	"testing"
)

// special does none of the steps that only some systems have: a script that has one has an
// empty output block for this system.
func (s *script) special(step string, _ []string) error {
	if step == "mkdir-long" {
		return errors.New("this is not Windows")
	}
	return nil
}

// silent returns nil if engine reports events of folders that were made before it began,
// and otherwise why it does not.
func silent(string) error { return nil }

// burst returns how many files, each four folders deep, a test makes at once. Four times
// as many need about as many watches as most systems allow.
func burst(string) int { return 5000 }

// able skips a test whose engine cannot be had here.
func able(testing.TB, string) {}
