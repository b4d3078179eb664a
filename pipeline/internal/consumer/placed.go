// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/watch"
)

// mostLinks is how many links of one argument are followed; Linux follows as many.
const mostLinks = 40

// placed returns where an argument of a scan lies, and the folder beneath which its files
// are opened without following a link. Links in the argument are followed where the
// operator made them: outside of the configured trees. Below a tree anybody may have made
// one, so there none is followed, and beneath is that tree.
func placed(arg string, trees []config.Tree) (path, beneath string, err error) {
	path, err = filepath.Abs(arg)
	if err != nil {
		return "", "", fmt.Errorf("resolve path: %w", err)
	}
	var roots []string
	for _, t := range trees {
		roots = append(roots, t.Path)
		if to, err := filepath.EvalSymlinks(t.Path); err == nil {
			roots = append(roots, to)
		}
	}
	separator := string(filepath.Separator)
	volume := filepath.VolumeName(path)
	at, rest := volume+separator, strings.TrimPrefix(path[len(volume):], separator)
	for links := 0; rest != ""; {
		for _, root := range roots {
			if watch.Within(root, at) {
				return filepath.Join(at, rest), root, nil
			}
		}
		name, more, _ := strings.Cut(rest, separator)
		next := filepath.Join(at, name)
		to, err := os.Readlink(next)
		if err != nil { // it is no link, or is not there
			at, rest = next, more
			continue
		}
		if links++; links > mostLinks {
			return "", "", &fs.PathError{Op: "resolve", Path: path, Err: errors.New("too many links")}
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(at, to)
		}
		volume = filepath.VolumeName(to)
		at, rest = volume+separator, strings.TrimPrefix(filepath.Join(to, more)[len(volume):], separator)
	}
	if st, err := os.Lstat(at); err == nil && st.IsDir() {
		return at, at, nil
	}
	return at, filepath.Dir(at), nil
}
