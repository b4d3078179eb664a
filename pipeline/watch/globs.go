// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// globs decides which paths of a tree are wanted.
type globs struct {
	include, exclude []string
}

func newGlobs(t Tree) globs {
	g := globs{exclude: t.Exclude}
	for _, p := range t.Include {
		if p == "**" {
			return g
		}
	}
	g.include = t.Include
	return g
}

// Rule returns the rule by which include and exclude leave out a file of a tree, and "" if
// they do not. rel is relative to the tree.
func Rule(t Tree, rel string) string {
	g := newGlobs(t)
	if !g.excluded(rel) {
		return ""
	}
	for _, p := range g.exclude {
		if match(p, filepath.ToSlash(rel)) {
			return "exclude " + strconv.Quote(p)
		}
	}
	var all []string
	for _, p := range g.include {
		all = append(all, strconv.Quote(p))
	}
	return "it matches no include: " + strings.Join(all, ", ")
}

// excluded reports whether include and exclude leave out the file rel, a path relative to
// the tree.
func (g globs) excluded(rel string) bool {
	if len(g.include) == 0 && len(g.exclude) == 0 {
		return false
	}
	rel = filepath.ToSlash(rel)
	for _, p := range g.exclude {
		if match(p, rel) {
			return true
		}
	}
	if len(g.include) == 0 {
		return false
	}
	for _, p := range g.include {
		if match(p, rel) {
			return false
		}
	}
	return true
}

// Barren reports whether an exclude of the form P/** covers all of the directory rel of a
// tree. Such a directory is neither watched nor swept.
func Barren(t Tree, rel string) bool { return newGlobs(t).barren(rel) }

// barren reports whether the directory rel cannot hold a wanted file: an exclude that
// ends in /** covers all of it. Such a directory is neither watched nor swept.
func (g globs) barren(rel string) bool {
	if len(g.exclude) == 0 {
		return false
	}
	rel = filepath.ToSlash(rel)
	for _, p := range g.exclude {
		if all, ok := strings.CutSuffix(p, "/**"); ok && match(all, rel) {
			return true
		}
	}
	return false
}

// match reports whether name matches. New has checked the pattern.
func match(pattern, name string) bool {
	ok, err := doublestar.Match(pattern, name)
	return err == nil && ok
}
