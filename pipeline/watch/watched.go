// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"hash/maphash"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// folders is the set of directories of a tree that are watched, or should be. A directory
// is a node below another one: it has its own name and not its path, so that a million
// of them take little memory, and a rename moves one node, whatever lies below it.
// watches.mu guards it.
type folders struct {
	root    string
	nodes   arena
	seed    maphash.Seed
	names   index // by parent and name
	places  index // those that are watched, by place, where the file system numbers its files
	numbers index // by the number that the engine gave their watch
	devices devices
	failures
	moves   uint64 // grows each time that a path is no longer that of the same node
	limit   error  // the last watch limit that was reached
	watched int
	limited int // how many failed for want of watches
}

// failures tells why directories are not watched or could not be listed.
type failures struct {
	failing map[ref]error // but for those with too long a path
	long    map[ref]error // those that were left out, because their path is too long
}

// devices holds the devices of all nodes. There are few: one for each file system in the
// tree.
type devices []uint64

// node is one directory. If it is neither watched nor failed, it is there only because of
// its children.
type node struct {
	name              string
	parent            ref
	first, next, prev ref           // children, and neighbours below the same parent
	number            int32         // by which the engine's events name it; 0: they name its path
	inode             uint64        // where the watch was set
	added             time.Duration // a time just before the watch was set
	age               uint32        // the tree's age when the watch was set
	device            uint16        // the index of its device
	used, watched     bool
}

// watching is a watch that has been set: by its number, or if the engine has none by its
// path.
type watching struct {
	number int32
	path   string
}

func newFolders(root string) *folders {
	f := &folders{root: root, seed: maphash.MakeSeed(), failures: failures{map[ref]error{}, map[ref]error{}}}
	f.names.hash = func(r ref) uint64 { n := f.nodes.of(r); return f.named(n.parent, n.name) }
	f.places.hash = func(r ref) uint64 { return maphash.Comparable(f.seed, f.place(r)) }
	f.numbers.hash = func(r ref) uint64 { return maphash.Comparable(f.seed, f.nodes.of(r).number) }
	return f
}

// named returns the hash of a name below parent. The names are not ours: without the seed
// they could be chosen so that all lie in one place.
func (f *folders) named(parent ref, name string) uint64 {
	h := maphash.String(f.seed, name) ^ uint64(parent)*0x9e3779b97f4a7c15
	return (h ^ h>>32) * 0xd6e8feb86659fd93
}

// child returns the node name below parent, or 0. The root is the child "" of none.
func (f *folders) child(parent ref, name string) ref {
	return f.names.find(f.named(parent, name), func(r ref) bool {
		n := f.nodes.of(r)
		return n.parent == parent && n.name == name
	})
}

// get returns the node of path, or 0.
func (f *folders) get(path string) ref {
	r := f.child(0, "")
	for rest := f.below(path); r != 0 && rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, string(filepath.Separator))
		r = f.child(r, name)
	}
	return r
}

// below returns path, which is the root or lies below it, without the root.
func (f *folders) below(path string) string {
	return strings.TrimPrefix(path[len(f.root):], string(filepath.Separator))
}

// path returns the path of r.
func (f *folders) path(r ref) string {
	var names []string
	for n := f.nodes.of(r); n.parent != 0; n = f.nodes.of(n.parent) {
		names = append(names, n.name)
	}
	if len(names) == 0 {
		return f.root
	}
	slices.Reverse(names)
	return join(f.root, strings.Join(names, string(filepath.Separator)))
}

// at returns the watched directory with place p, or 0 if there is none or the file system
// does not number its files.
func (f *folders) at(p place) ref {
	if p.inode == 0 {
		return 0
	}
	return f.places.find(maphash.Comparable(f.seed, p), func(r ref) bool { return f.place(r) == p })
}

// by returns the directory whose watch has this number, or 0.
func (f *folders) by(number int32) ref {
	if number == 0 {
		return 0
	}
	return f.numbers.find(maphash.Comparable(f.seed, number), func(r ref) bool { return f.nodes.of(r).number == number })
}

// place returns the place at which the watch of r was set.
func (f *folders) place(r ref) place {
	n := f.nodes.of(r)
	if n.inode == 0 {
		return place{}
	}
	return place{f.devices[n.device], n.inode}
}

// lies reports whether the watch of r was set at p. Where the file system does not number
// its files it may have been.
func (f *folders) lies(r ref, p place) bool { return p.inode == 0 || f.place(r) == p }

// put returns the node of path. If there is none it makes one, and those of its parents
// up to the root.
func (f *folders) put(path string) ref {
	r := f.grow(0, "")
	for rest := f.below(path); rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, string(filepath.Separator))
		r = f.grow(r, name)
	}
	return r
}

// grow returns the node name below parent. If there is none it makes one.
func (f *folders) grow(parent ref, name string) ref {
	if r := f.child(parent, name); r != 0 {
		return r
	}
	r := f.nodes.take()
	n := f.nodes.of(r)
	n.name, n.used = strings.Clone(name), true // not a part of a path, which would stay in memory
	f.hang(r, parent)
	return r
}

// hang makes r, which has its name and no parent, a child of parent.
func (f *folders) hang(r, parent ref) {
	n := f.nodes.of(r)
	n.parent = parent
	if parent != 0 {
		above := f.nodes.of(parent)
		if n.next = above.first; n.next != 0 {
			f.nodes.of(n.next).prev = r
		}
		above.first = r
	}
	f.names.put(r)
}

// unhang is the opposite of hang.
func (f *folders) unhang(r ref) {
	f.names.remove(r)
	n := f.nodes.of(r)
	switch {
	case n.prev != 0:
		f.nodes.of(n.prev).next = n.next
	case n.parent != 0:
		f.nodes.of(n.parent).first = n.next
	}
	if n.next != 0 {
		f.nodes.of(n.next).prev = n.prev
	}
	n.parent, n.next, n.prev = 0, 0, 0
}

// move renames r and all below it. It returns false, and does nothing, if that name is
// taken or parent lies below r: then what was told of the tree is not the whole story.
func (f *folders) move(r, parent ref, name string) bool {
	if f.child(parent, name) != 0 {
		return false
	}
	for above := parent; above != 0; above = f.nodes.of(above).parent {
		if above == r {
			return false
		}
	}
	f.moves++
	f.unhang(r)
	f.nodes.of(r).name = strings.Clone(name)
	f.hang(r, parent)
	return true
}

// index returns the index of dev, or false if there are too many.
func (d *devices) index(dev uint64) (index uint16, ok bool) {
	at := slices.Index(*d, dev)
	if at < 0 && len(*d) < 1<<16 {
		at = len(*d)
		*d = append(*d, dev)
	}
	return uint16(max(at, 0)), at >= 0
}

// set notes that the watch of r was set at p, with a number if it has one, or why it could
// not be (failed).
func (f *folders) set(r ref, p place, number int32, age uint32, added time.Duration, failed error) {
	f.count(r, -1)
	f.unwatch(r)
	n := f.nodes.of(r)
	n.age, n.added, n.watched = age, added, failed == nil
	if n.watched {
		if index, ok := f.devices.index(p.dev); ok && p.inode != 0 {
			n.device, n.inode = index, p.inode
			f.places.put(r)
		}
		if n.number = number; number != 0 {
			f.numbers.put(r)
		}
	}
	f.excuse(r, failed)
	f.count(r, 1)
}

// unwatch forgets the watch of r, and where it was.
func (f *folders) unwatch(r ref) {
	n := f.nodes.of(r)
	if n.inode != 0 {
		f.places.remove(r)
	}
	if n.number != 0 {
		f.numbers.remove(r)
	}
	n.inode, n.number, n.watched = 0, 0, false
}

// fail notes that r could not be listed.
func (f *folders) fail(r ref, err error) {
	f.count(r, -1)
	f.excuse(r, err)
	f.count(r, 1)
}

// failure returns why r is not watched or could not be listed. nil: it is watched.
func (f *failures) failure(r ref) error {
	if err := f.failing[r]; err != nil {
		return err
	}
	return f.long[r]
}

// excuse makes err the failure of r.
func (f *failures) excuse(r ref, err error) {
	delete(f.failing, r)
	delete(f.long, r)
	switch {
	case errors.Is(err, ErrTooLong):
		f.long[r] = err
	case err != nil:
		f.failing[r] = err
	}
}

func (f *folders) count(r ref, by int) {
	switch err := f.failure(r); {
	case err != nil && watchLimit(err):
		f.limited += by
	case err == nil && f.nodes.of(r).watched:
		f.watched += by
	}
}

// drop removes r and all below it, and returns their watches, the deepest first.
func (f *folders) drop(r ref) []watching {
	f.moves++
	return f.dropInto(nil, r)
}

func (f *folders) dropInto(all []watching, r ref) []watching {
	n := f.nodes.of(r)
	for n.first != 0 {
		all = f.dropInto(all, n.first)
	}
	switch {
	case n.number != 0:
		all = append(all, watching{number: n.number})
	case n.watched:
		all = append(all, watching{path: f.path(r)})
	}
	f.count(r, -1)
	f.unwatch(r)
	f.excuse(r, nil)
	f.unhang(r)
	f.nodes.drop(r)
	return all
}

// older returns the directories, except the root, whose watch was set before age. It
// leaves out those at and below one that could not be listed: they may be there still.
func (f *folders) older(age uint32) []string {
	var paths []string
	f.nodes.all(func(r ref) {
		n := f.nodes.of(r)
		if n.age < age && n.parent != 0 && (n.watched || f.failure(r) != nil) && f.unlisted(r) == 0 {
			paths = append(paths, f.path(r))
		}
	})
	return paths
}

// unlisted returns the highest directory at or above r that failed, but for want of
// watches; 0 if there is none.
func (f *folders) unlisted(r ref) (top ref) {
	if len(f.failing)+len(f.long) == 0 {
		return 0
	}
	for ; r != 0; r = f.nodes.of(r).parent {
		if err := f.failure(r); err != nil && !watchLimit(err) {
			top = r
		}
	}
	return top
}
