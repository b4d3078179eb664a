// SPDX-License-Identifier: Apache-2.0

package watch

import "path/filepath"

// ground holds the part of a tree that never changes: its configuration. Any goroutine
// may read it without a lock.
type ground struct {
	Tree
	at    int // its index in Config.Trees
	globs globs
}

// below returns path, which is in the tree, relative to the tree: "." for the tree
// itself.
func (g *ground) below(path string) string {
	switch {
	case len(path) <= len(g.Path):
		return "."
	case filepath.Dir(g.Path) == g.Path: // a root, which ends in its separator
		return path[len(g.Path):]
	}
	return path[len(g.Path)+1:]
}

// lstat returns the Stat of a directory of the tree. It follows a link only if that is
// the tree's own path.
func (g *ground) lstat(path string) (Stat, error) {
	if path == g.Path {
		return follow(path)
	}
	return lstatBelow(g.Path, g.below(path))
}

// leads reports whether path leads to the directory at, as it is spelled.
func (g *ground) leads(path string, at place) bool {
	st, err := g.lstat(path)
	if err != nil || st.place() != at {
		return false
	}
	_, same := g.real(path)
	return same
}
