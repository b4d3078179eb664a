// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"path/filepath"
	"strings"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/watch"
)

const (
	sharesMost = 2 * placesMost // bytes: no further push is taken while so many wait. The lines hand out less
	pushCost   = 768            // bytes of a push that waits, besides its path
)

// shares holds the fresh pushes of one lane. It gives each tree with lines its turn, and
// in a tree each folder directly below it, so that many files in one place do not keep
// those elsewhere waiting. In a folder the oldest line is first.
//
// A folder that had no turn since it got lines is new. Every second turn is for the
// newest one: with folders without number, somebody else's file waits for a few turns
// all the same. The others are for the oldest new one and for those that had a turn, so
// that each has its turn at last.
type shares struct {
	trees []config.Tree
	ring  []*treeShare // those that have lines; the first is next
	of    map[string]*treeShare
	bytes int
	n     int
}

type treeShare struct {
	name  string
	of    map[string]*folderShare
	fresh []*folderShare // new ones, the oldest first
	ring  []*folderShare // those that had a turn, the next one first
	turn  int
}

type folderShare struct {
	name   string
	pushes []*push
}

func newShares(trees []config.Tree) *shares {
	return &shares{trees: trees, of: map[string]*treeShare{}}
}

// full reports whether no further push fits.
func (s *shares) full() bool { return s.bytes >= sharesMost }

// put adds a push.
func (s *shares) put(p *push) {
	tree, folder := s.place(p.sample.Path)
	t := s.of[tree]
	if t == nil {
		t = &treeShare{name: tree, of: map[string]*folderShare{}}
		s.of[tree] = t
		s.ring = append(s.ring, t)
	}
	f := t.of[folder]
	if f == nil {
		f = &folderShare{name: folder}
		t.of[folder] = f
		t.fresh = append(t.fresh, f)
	}
	f.pushes = append(f.pushes, p)
	s.n++
	s.bytes += pushCost + len(p.sample.Path)
}

// take takes out the push whose turn it is, or returns nil if there is none.
func (s *shares) take() *push {
	if len(s.ring) == 0 {
		return nil
	}
	t := s.ring[0]
	s.ring[0] = nil
	s.ring = s.ring[1:]
	p := t.take()
	if len(t.of) > 0 {
		s.ring = append(s.ring, t)
	} else {
		delete(s.of, t.name)
	}
	s.n--
	s.bytes -= pushCost + len(p.sample.Path)
	return p
}

func (t *treeShare) take() *push {
	var f *folderShare
	t.turn++
	switch last := len(t.fresh) - 1; {
	case last >= 0 && t.turn%2 == 0:
		f, t.fresh[last] = t.fresh[last], nil
		t.fresh = t.fresh[:last]
	case last >= 0 && (len(t.ring) == 0 || t.turn%4 == 1):
		f, t.fresh[0] = t.fresh[0], nil
		t.fresh = t.fresh[1:]
	default:
		f, t.ring[0] = t.ring[0], nil
		t.ring = t.ring[1:]
	}
	p := f.pushes[0]
	f.pushes[0] = nil
	if f.pushes = f.pushes[1:]; len(f.pushes) > 0 {
		t.ring = append(t.ring, f)
	} else {
		delete(t.of, f.name)
	}
	return p
}

// place returns the tree of a path, and the folder directly below that: "" for a file in
// the tree's root. Outside every tree each folder is a tree of its own.
func (s *shares) place(path string) (tree, folder string) {
	for _, t := range s.trees {
		if watch.Within(t.Path, path) && len(t.Path) > len(tree) {
			tree = t.Path
		}
	}
	if tree == "" {
		return filepath.Dir(path), ""
	}
	rest := strings.TrimLeft(filepath.ToSlash(path[len(tree):]), "/")
	folder, _, below := strings.Cut(rest, "/")
	if !below {
		return tree, ""
	}
	return tree, folder
}
