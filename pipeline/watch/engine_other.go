// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package watch

import "context"

// Engines names the engines that there are here, on other systems only, and not yet.
func Engines() (here, elsewhere, planned []string) {
	return []string{"auto", "fsnotify", "sweep"}, []string{"windows"}, []string{"fanotify"}
}

// automatic is what auto means, before or without a look at the system.
const automatic = "fsnotify"

// bestEngine is not asked: automatic leaves no choice.
func bestEngine(context.Context, string) (engine, why string) {
	return automatic, "it is the only one here"
}

// unsupported reports whether err says that the file system cannot do what the engine needs.
func unsupported(error) bool { return false }
