// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !windows

package watch

import "errors"

// special does the steps that only some systems have: none here, and a script
// that needs one has an empty output block for this system.
func (s *script) special(step string, _ []string) error {
	if step == "mkdir-long" {
		return errors.New("this is not Windows")
	}
	return nil
}

// silent tells why engine is silent of old folders; nil if it is not.
func silent(string) error { return nil }

// burst is how many files, four folders deep each, an engine takes at once; four
// times as many are as many watches as most systems allow.
func burst(string) int { return 5000 }
