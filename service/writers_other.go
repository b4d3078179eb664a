// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package service

// writersOf names nobody: this system tells no other process of a file's writers in a
// simple way.
func writersOf(string) []string { return nil }
