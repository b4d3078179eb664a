// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package watch

// long and short convert a path to the form for the system and back. Here it is the same.
func long(path string) string { return path }

func short(path string) string { return path }
