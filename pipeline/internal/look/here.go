// SPDX-License-Identifier: Apache-2.0

package look

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/producer"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/watch"
)

// Named returns path as the journal names it: below the path of its tree, which may be a
// link. A path that leads into no tree stays as it is. Only folders are resolved, and only
// down to the tree: below it nothing is followed.
func Named(path string, trees []config.Tree) string {
	if _, ok := treeOf(path, trees); ok {
		return path
	}
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		if to, err := filepath.EvalSymlinks(folder); err == nil {
			for _, t := range trees {
				root, err := filepath.EvalSymlinks(t.Path)
				if err != nil {
					continue
				}
				at := filepath.Join(to, path[len(folder):])
				if watch.Within(root, at) {
					return filepath.Join(t.Path, at[len(root):])
				}
			}
		}
		if folder == filepath.Dir(folder) {
			return path
		}
	}
}

// treeOf returns the deepest tree that holds path.
func treeOf(path string, trees []config.Tree) (tree config.Tree, ok bool) {
	for _, t := range trees {
		if watch.Within(t.Path, path) && len(t.Path) > len(tree.Path) {
			tree, ok = t, true
		}
	}
	return tree, ok
}

// Here looks at a path and says what lies there now, and what keeps it from its scanners.
// s is its story, and p the producer that runs in this process; nil: none does.
func (a *Archive) Here(path string, s Story, p *producer.Producer) []string {
	t, ok := treeOf(path, a.c.Trees)
	if !ok {
		return []string{a.outside()}
	}
	rel, err := filepath.Rel(t.Path, path)
	if err != nil {
		return []string{a.outside()}
	}
	w := producer.WatchTrees([]config.Tree{t})[0]
	if why := way(w, rel); why != "" {
		return []string{why}
	}
	st, err := watch.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []string{"no file lies there now"}
	case err != nil:
		return []string{"it cannot be looked at: " + producer.Errno(err)}
	case st.Kind() == "directory":
		return []string{"it is a folder: ask for a file in it"}
	case st.Kind() != "":
		return []string{"it is no regular file but a " + st.Kind() + ": such are never pushed, and get no line"}
	}
	if rule := watch.Rule(w, rel); rule != "" {
		return []string{"it is left out: " + rule + " of tree " + t.Name}
	}
	if st.Size < t.MinSize {
		if st.Size == 0 {
			return []string{"it is empty: the tree takes files from min_size on, " + fmt.Sprint(t.MinSize) + " bytes"}
		}
		return []string{fmt.Sprintf("its %d bytes are below min_size of the tree, %d bytes", st.Size, t.MinSize)}
	}
	return slices.Concat(journaled(path, st, t, s, p), readable(t.Path, rel), unheard(path, t))
}

// unheard says what writes to a file raise no event, and how late they are found.
func unheard(path string, t config.Tree) (all []string) {
	found := "the next sweep finds it"
	if t.Sweep > 0 {
		found += ", at most " + t.Sweep.String() + " later"
	}
	m, err := watch.MediumOf(filepath.Dir(path))
	elsewhere := err == nil && m.Elsewhere
	if elsewhere && t.Adapts {
		found += "; one begins ten seconds after the last, or nine times as long as that took"
	}
	if n, err := watch.Names(path); err == nil && n > 1 {
		all = append(all, fmt.Sprintf("it has %d names (hard links): what is written by a name elsewhere raises no event, and %s", n, found))
	}
	if elsewhere {
		all = append(all, fmt.Sprintf("it lies on %s: what is written on its far side raises no event, and %s", m.Kind, found))
	}
	return all
}

// outside says that a path lies in no tree, and names the trees.
func (a *Archive) outside() string {
	if len(a.c.Trees) == 0 {
		return "no tree is configured: name one in a [[watch]]"
	}
	var all []string
	for _, t := range a.c.Trees {
		all = append(all, t.Path)
	}
	return "it lies outside every tree: " + strings.Join(all, ", ")
}

// way looks at the folders from the tree down to rel. It returns what keeps a sweep from
// going there, or "".
func way(t watch.Tree, rel string) string {
	parts := strings.Split(rel, string(filepath.Separator))
	for i := range parts {
		folder := filepath.Join(t.Path, filepath.Join(parts[:i]...))
		st, err := watch.Lstat(folder)
		switch {
		case i == 0:
			_, err = os.Stat(folder) // the tree's own path may be a link
			if errors.Is(err, fs.ErrNotExist) {
				return "the tree " + t.Path + " is not there: make it, or mount what belongs there"
			}
		case errors.Is(err, fs.ErrNotExist):
			return "no file lies there now, and no folder " + folder
		case err == nil && st.Kind() == "symlink":
			return "the folder " + folder + " is a link: below a tree no link is followed"
		case err == nil && st.Kind() != "directory":
			return folder + " is no folder"
		}
		if err == nil {
			err = listed(folder)
		}
		if err != nil {
			return "the folder " + folder + " cannot be read: " + producer.Errno(err) + ": let the user that certpush runs as read it"
		}
		if watch.Barren(t, filepath.Join(parts[:i]...)) {
			return "nothing below " + folder + " is watched or swept: " + watch.Rule(t, rel)
		}
	}
	return ""
}

// listed returns nil if a folder can be listed.
func listed(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return f.Close()
}

// journaled says whether a file is journaled in the version that lies there, and what it
// waits for.
func journaled(path string, st watch.Stat, t config.Tree, s Story, p *producer.Producer) []string {
	id := sample.OfFile(path, st.Size, st.Mtime).ID
	known := slices.ContainsFunc(s.Lines, func(l Journaled) bool { return l.Sample.ID == id || l.Sample.Bare() }) ||
		slices.ContainsFunc(s.Outcomes, func(o sample.Outcome) bool { return o.ID == id })
	if p == nil {
		if known {
			return nil
		}
		return []string{"it is not journaled in its present version, and nothing watches now: the sweep at the next start journals it"}
	}
	if _, ok := (running{p}).known(path, st); ok {
		if !known {
			return []string{"it was journaled in this version, and its lines are pruned: its outcomes were recorded"}
		}
		return nil
	}
	_, stopped := p.Status()
	switch {
	case stopped != nil:
		return []string{stopped.Error() + ": it is journaled when there is room again"}
	case p.Watcher().Settling(path):
		return []string{fmt.Sprintf("a program writes it, or did a moment ago: it is journaled when it has settled, or after settle_limit, %v", t.SettleLimit)}
	case known:
		return nil // the index may lag
	}
	return []string{"it is not journaled in its present version yet: the next sweep finds it, and certpush sweep " + t.Name + " asks for one now"}
}

// readable says what keeps a file from being read, if anything does.
func readable(root, rel string) []string {
	f, _, err := watch.Open(root, rel)
	if err == nil {
		err = f.Close()
	}
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, watch.ErrBusy):
		return []string{"another program holds it, so it cannot be opened now"}
	case watch.Taken(err):
		return []string{"another anti-virus on this host keeps it from being read"}
	}
	return []string{"it cannot be read: " + producer.Errno(err) + ": let the user that certpush runs as read it"}
}
