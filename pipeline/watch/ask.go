// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"path/filepath"
)

// ask looks at path. If it is a wanted file, and the system can tell, ask also asks
// whether a program writes it. same and held are as in settler.ask.
func (w *Watcher) ask(t *tree, path string, same *Stat, held bool) (finding, Stat) {
	rel := t.below(path)
	st, err := lstatBelow(t.Path, rel)
	if err != nil {
		if !vanished(err) && !linked(err) {
			// To ask again shows nothing more; a sweep of the folder will.
			t.doubt(filepath.Dir(path), WhyError)
		}
		return missing, Stat{}
	}
	return w.asked(t, path, st, held, func(st Stat) (finding, Stat) { return writer(t.Path, rel, st, same) })
}

// asked is ask after the look, which gave st. writer asks the system for a writer.
func (w *Watcher) asked(t *tree, path string, st Stat, held bool, writer func(Stat) (finding, Stat)) (finding, Stat) {
	switch reason := st.Kind(); {
	case reason == "directory" && w.otherwise(t, path):
		return missing, st
	case reason == "directory":
		return folder, st
	case reason != "":
		w.skipped(t, path, reason)
		return passed, st
	case t.globs.excluded(t.below(path)):
		w.skipped(t, path, "excluded")
		return passed, st
	}
	if held && !linkedTo(path) {
		return written, st
	}
	what, st := writer(st)
	if what == settled && w.otherwise(t, path) {
		return missing, st
	}
	return what, st
}

// linkedTo reports whether the file at path has another name. What came as a hard link
// looks like a file that was made and is open.
func linkedTo(path string) bool {
	n, err := Names(path)
	return err != nil || n > 1
}

// otherwise reports whether the name at path is spelled in another way in its folder, or
// is gone. In the first case it makes the path with that spelling a candidate.
func (w *Watcher) otherwise(t *tree, path string) bool {
	written, same := t.real(path)
	if !same && written != "" {
		t.touch(written)
	}
	return !same
}

func (w *Watcher) skipped(t *tree, path, reason string) {
	if w.config.Skipped != nil {
		w.config.Skipped(t.at, path, reason)
	}
}
