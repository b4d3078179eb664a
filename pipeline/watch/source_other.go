// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package watch

// long and short turn a path into what the system reads it from, and back: here it
// is the same.
func long(path string) string { return path }

func short(path string) string { return path }
