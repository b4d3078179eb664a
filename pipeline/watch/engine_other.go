// SPDX-License-Identifier: Apache-2.0

//go:build !windows && !linux

package watch

import "context"

// Engines returns the names of the engines that a tree can have on this system, and only
// on other systems.
func Engines() (here, elsewhere []string) {
	return []string{"auto", "fsnotify", "sweep"}, []string{"inotify", "fanotify", "windows"}
}

// automatic is the engine that New puts in place of auto.
const automatic = "fsnotify"

// bestEngine is never called: New puts automatic in place of auto.
func bestEngine(context.Context, string) (engine, why string) {
	return automatic, "it is the only one here"
}

// unsupported reports whether err says that the file system cannot do what the engine needs.
func unsupported(error) bool { return false }
