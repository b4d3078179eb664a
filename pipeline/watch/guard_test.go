// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// refused returns the reason with which Open refuses rel, and its error. The reason is ""
// if Open does not refuse it.
func refused(root, rel string) (string, error) {
	f, _, err := Open(root, rel)
	if f != nil {
		f.Close()
	}
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason, err
	}
	return "", err
}

// content returns the text of the file that Open opens. A failure fails the test.
func content(t *testing.T, root, rel string) string {
	t.Helper()
	f, st, err := Open(root, rel)
	if err != nil {
		t.Errorf("open %q: %v", rel, err)
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil || int64(len(text)) != st.Size {
		t.Errorf("read %q: %d bytes of %d, %v", rel, len(text), st.Size, err)
	}
	return string(text)
}

// A path whose text leads out of its root is refused.
func TestGuardByText(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "t")
	write(t, filepath.Join(root, "d", "f"), "inside")
	write(t, filepath.Join(dir, "out"), "outside")
	for _, rel := range []string{"", "..", "../out", "d/../../out", "d/../../t/d/f", filepath.Join(dir, "out"), "/etc/passwd"} {
		if reason, err := refused(root, filepath.FromSlash(rel)); reason != "outside" {
			t.Errorf("open %q: %v", rel, err)
		}
	}
	for _, rel := range []string{".", "d"} {
		if reason, err := refused(root, rel); reason != "directory" {
			t.Errorf("open %q: %v", rel, err)
		}
	}
	for _, rel := range []string{"gone", "gone/f", "d/gone", "d/f/f"} {
		if _, err := refused(root, filepath.FromSlash(rel)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open %q: %v", rel, err)
		}
	}
	for _, rel := range []string{"d/f", "./d/./f", "d/../d/f"} {
		if text := content(t, root, filepath.FromSlash(rel)); text != "inside" {
			t.Errorf("%q holds %q", rel, text)
		}
	}
}

// No link below the root is followed, of any kind. The root itself may be a link.
func TestGuardLinks(t *testing.T) {
	kinds := links()
	for name, link := range kinds {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			root := filepath.Join(dir, "t")
			write(t, filepath.Join(root, "d", "f"), "inside")
			write(t, filepath.Join(dir, "out", "f"), "outside")
			made := func(to, at string) {
				t.Helper()
				err := link(to, at)
				if st, failed := Lstat(at); err == nil && (failed != nil || st.Mode&fs.ModeSymlink == 0) {
					err = errors.New("what was made is no link")
				}
				if err != nil {
					t.Skipf("no %s can be made here: %v", name, err)
				}
			}
			made(filepath.Join(dir, "out"), filepath.Join(root, "away"))
			made(filepath.Join(root, "d"), filepath.Join(root, "near"))
			made(root, filepath.Join(dir, "root"))
			for _, rel := range []string{"away", "away/f", "near", "near/f"} {
				if reason, err := refused(root, filepath.FromSlash(rel)); reason != "symlink" {
					t.Errorf("open %q: %v", rel, err)
				}
			}
			if _, err := openFolder(root, "away"); !linked(err) {
				t.Errorf("listed through a link: %v", err)
			}
			if text := content(t, filepath.Join(dir, "root"), filepath.Join("d", "f")); text != "inside" {
				t.Errorf("below a root that is a link: %q", text)
			}
			var folders []string
			err := Walk(t.Context(), Tree{Path: root}, root, func(f Folder) error {
				folders = append(folders, f.Path)
				for _, e := range f.Entries {
					if e.Name != "f" && e.Stat.Kind() != "symlink" {
						t.Errorf("%s is %v", e.Name, e.Stat.Mode)
					}
				}
				return f.Err
			})
			if err != nil || len(folders) != 2 {
				t.Errorf("walked %q, %v", folders, err)
			}
		})
	}
}

// If a folder on the way is swapped for another folder or a link, Open finds the file that
// was meant, finds none, or refuses. It never opens a file elsewhere.
func TestGuardSwappedFolders(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "t")
	write(t, filepath.Join(root, "d", "f"), "inside")
	write(t, filepath.Join(dir, "out", "f"), "outside")
	other := filepath.Join(dir, "other")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	if noSymlinks(t) == nil {
		other = filepath.Join(dir, "link")
		if err := os.Symlink(filepath.Join(dir, "out"), other); err != nil {
			t.Fatal(err)
		}
	}
	stop, ended := make(chan bool), make(chan bool)
	// Windows does not rename a folder in which a file is open, so each step is tried
	// until it succeeds.
	must := func(from, to string) {
		for os.Rename(from, to) != nil {
			runtime.Gosched()
		}
	}
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			d, away := filepath.Join(root, "d"), filepath.Join(dir, "away")
			must(d, away)
			must(other, d)
			must(d, other)
			must(away, d)
		}
	}()
	for range 300 {
		f, _, err := Open(root, filepath.Join("d", "f"))
		if err != nil {
			continue
		}
		if text, _ := io.ReadAll(f); string(text) != "inside" {
			t.Errorf("read %q", text)
		}
		f.Close()
	}
	close(stop)
	<-ended
}

// A path far longer than 260 characters is opened, listed and settles like any other.
func TestGuardLongPaths(t *testing.T) { each(t, guardLongPaths) }

func guardLongPaths(t *testing.T, engine string) {
	tree, r := oneBy(t, engine)
	rel := filepath.Join(strings.Repeat("a", 200), strings.Repeat("b", 200), strings.Repeat("c", 200), strings.Repeat("d", 200))
	path := filepath.Join(tree.Path, rel, "f")
	write(t, path, "deep")
	if text := content(t, tree.Path, filepath.Join(rel, "f")); text != "deep" {
		t.Errorf("read %q", text)
	}
	eventually(t, "the file", func() bool { return r.has(path) })
	write(t, filepath.Join(tree.Path, rel, "g"), "later")
	eventually(t, "a later file", func() bool { return r.has(filepath.Join(tree.Path, rel, "g")) })
}

// While we have a file open, other programs can write, rename and remove it.
func TestGuardStandsInNobodysWay(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "d", "f")
	write(t, path, "old")
	f, _, err := Open(dir, filepath.Join("d", "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := openFolder(dir, "d")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	if err := put(path, os.O_APPEND|os.O_WRONLY, " new"); err != nil {
		t.Errorf("write: %v", err)
	}
	if err := os.Rename(path, path+"2"); err != nil {
		t.Errorf("rename: %v", err)
	}
	if err := os.Remove(path + "2"); err != nil {
		t.Errorf("remove: %v", err)
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "old new" {
		t.Errorf("read %q, %v", text, err)
	}
}
