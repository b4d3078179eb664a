// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package watch

// special does the steps that only some systems have: none here, and a script
// that needs one has an empty output block for this system.
func (s *script) special(string, []string) error { return nil }
