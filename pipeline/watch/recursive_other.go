// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package watch

// newRecursive is never called: New refuses the engine.
func newRecursive(string, place) (source, error) { return nil, ErrEngine }
