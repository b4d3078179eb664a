// SPDX-License-Identifier: Apache-2.0

package watch

import "context"

// Engines returns the names of the engines that a tree can have on this system, and only
// on other systems.
func Engines() (here, elsewhere []string) {
	return []string{"auto", "inotify", "fanotify", "fsnotify", "sweep"}, []string{"windows"}
}

// automatic is the engine that New puts in place of auto.
const automatic = "inotify"

// bestEngine is never called: New puts automatic in place of auto.
func bestEngine(context.Context, string) (engine, why string) {
	return automatic, "each kernel has it"
}

// unsupported reports whether err says that the file system cannot do what the engine needs.
func unsupported(error) bool { return false }
