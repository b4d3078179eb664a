// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package pipeline

import "strings"

// begins reports whether path begins with dir.
func begins(path, dir string) bool { return strings.HasPrefix(path, dir) }

// volume returns the root of the file system that the absolute path is on.
func volume(string) (root string, ok bool) { return "/", true }
