// SPDX-License-Identifier: Apache-2.0

package watch

import "path/filepath"

// ground is what never changes of a tree: what it was told to watch. So any
// goroutine reads it without a lock.
type ground struct {
	Tree
	at    int // in Config.Trees
	globs globs
}

// below returns path relative to the tree; "." for the tree itself.
func (g *ground) below(path string) string {
	switch {
	case len(path) <= len(g.Path):
		return "."
	case filepath.Dir(g.Path) == g.Path: // a root, which ends in its separator
		return path[len(g.Path):]
	}
	return path[len(g.Path)+1:]
}

// lstat is the Stat of a directory of the tree; the tree's own path may be a link.
func (g *ground) lstat(path string) (Stat, error) {
	if path == g.Path {
		return follow(path)
	}
	return lstatBelow(g.Path, g.below(path))
}
