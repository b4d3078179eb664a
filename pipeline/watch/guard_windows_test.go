// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/windows"
)

// links holds the ways to make a link to a folder.
func links() map[string]func(to, at string) error {
	return map[string]func(to, at string) error{"symlink": os.Symlink, "junction": junction}
}

// junction makes a folder at the path at that is a mount point of the folder to.
func junction(to, at string) error {
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	h, err := openHandle(at, windows.GENERIC_WRITE, shareAll, windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OPEN_REPARSE_POINT)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(h)
	target, shown := wide(`\??\`+to), wide(to)
	var b []byte
	b = binary.LittleEndian.AppendUint32(b, windows.IO_REPARSE_TAG_MOUNT_POINT)
	for _, n := range []int{8 + len(target) + 2 + len(shown) + 2, 0, 0, len(target), len(target) + 2, len(shown)} {
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
	}
	b = append(append(append(append(b, target...), 0, 0), shown...), 0, 0)
	var n uint32
	return windows.DeviceIoControl(h, windows.FSCTL_SET_REPARSE_POINT, &b[0], uint32(len(b)), nil, 0, &n, nil)
}

// wide returns s in UTF-16, without a NUL at the end.
func wide(s string) []byte {
	var b []byte
	for _, u := range windows.StringToUTF16(s) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b[:len(b)-2]
}

// A name is taken literally: it is never a device, nor another file whose name the system
// would make of it.
func TestGuardNamesAsTheyLie(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"plain", "plain.", "plain ", "plain. .", "NUL", "CON.txt", "com1", "aux.tar.gz", "CONIN$", "...", "LPT1."} {
		if err := put(long(root)+`\`+name, os.O_CREATE|os.O_WRONLY, "this is "+name); err != nil {
			t.Errorf("make %q: %v", name, err)
			continue
		}
		if text := content(t, root, name); text != "this is "+name {
			t.Errorf("%q holds %q", name, text)
		}
		if st, err := Lstat(filepath.Join(root, name)); err != nil || st.Size != int64(len("this is "+name)) {
			t.Errorf("look at %q: %+v, %v", name, st, err)
		}
	}
	for _, name := range []string{"PRN", "nul.txt", "COM9", "missing.", `d\NUL`} {
		if _, err := refused(root, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open %q: %v", name, err)
		}
	}
	seen := 0
	err := Walk(t.Context(), Tree{Path: root}, root, func(f Folder) error {
		for _, e := range f.Entries {
			if e.Stat.Size != int64(len("this is "+e.Name)) {
				t.Errorf("%q is seen with %d bytes", e.Name, e.Stat.Size)
			}
		}
		seen += len(f.Entries)
		return f.Err
	})
	if err != nil || seen != 11 {
		t.Errorf("%d seen, %v", seen, err)
	}
}

// No other stream of a file is opened, in any form of its name.
func TestGuardStreams(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "d", "f"), "content")
	if err := os.WriteFile(filepath.Join(root, "d", "f")+":stream", []byte("hidden"), 0o600); err != nil {
		t.Logf("no stream can be made here: %v", err)
	}
	for _, rel := range []string{`d\f:stream`, `d\f::$DATA`, `d\f:`, `d:x\f`, `d::$INDEX_ALLOCATION\f`, `C:f`, `C:\f`} {
		if reason, err := refused(root, rel); reason != "outside" {
			t.Errorf("open %q: %v", rel, err)
		}
	}
}

// A root is a folder of a drive or a share. Devices and pipes are not opened.
func TestGuardRoots(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "content")
	for _, root := range []string{`\\.\PhysicalDrive0`, `\\.\pipe`, `\\.\C:\`, `\\?\GLOBALROOT\Device`, `\\?\pipe`, `\??\C:\`, `C:`, `\`, `relative`, ``} {
		if reason, err := refused(root, "f"); reason != "outside" {
			t.Errorf("open below %q: %v", root, err)
		}
	}
	for _, root := range []string{dir, `\\?\` + dir} {
		if text := content(t, root, "f"); text != "content" {
			t.Errorf("below %q: %q", root, text)
		}
	}
	for root, want := range map[string]bool{`\\server\share`: true, `\\?\UNC\server\share`: true, `\\?\UNCLE`: false, `D:\`: true, `\\?\Volume{1}\`: false} {
		if plain(root) != want {
			t.Errorf("plain(%q) is %v", root, !want)
		}
	}
}

// The open that asks for a writer fails while a program writes. While it is open, other
// programs can rename and remove the file.
func TestSettleOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "x")
	st, err := Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if what, _ := writer(dir, "f", st, nil); what != unsure {
		t.Errorf("before it was quiet it is %v", what)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if what, _ := writer(dir, "f", st, &st); what != written {
		t.Errorf("with a writer it is %v", what)
	}
	f.Close()
	if what, _ := writer(dir, "f", st, &st); what != settled {
		t.Errorf("without a writer it is %v", what)
	}
	h, err := openBelow(dir, "f", windows.GENERIC_READ|windows.SYNCHRONIZE, denyWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer windows.CloseHandle(h)
	if err := os.Rename(path, path+"2"); err != nil {
		t.Errorf("rename while it is asked: %v", err)
	}
	if err := os.Remove(path + "2"); err != nil {
		t.Errorf("remove while it is asked: %v", err)
	}
}

// Only the two errors that mean that another anti-virus took the file are ErrTaken.
func TestTaken(t *testing.T) {
	for _, e := range []error{windows.ERROR_VIRUS_INFECTED, windows.ERROR_VIRUS_DELETED} {
		if !Taken(fmt.Errorf("read: %w", e)) || !errors.Is(refuse("f", e), ErrTaken) {
			t.Errorf("%v is not taken", e)
		}
	}
	for _, e := range []error{nil, windows.ERROR_ACCESS_DENIED, windows.ERROR_FILE_NOT_FOUND} {
		if Taken(e) {
			t.Errorf("%v is taken", e)
		}
	}
	// A file that cannot be opened at all gets its Stat from the entry in its folder.
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "content")
	st, err := Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := listed(path); err != nil || l.Size != st.Size || l.Mtime != st.Mtime || l.Mode != st.Mode {
		t.Errorf("listed as %+v, %v; it is %+v", l, err, st)
	}
}

// A name in another case is the same file, which comes out once.
func TestOtherLettersAreTheSameFile(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			tree, r := oneBy(t, engine)
			write(t, filepath.Join(tree.Path, "Folder", "File"), "x")
			eventually(t, "the file", func() bool { return r.has(filepath.Join(tree.Path, "Folder", "File")) })
			r.w.Again(filepath.Join(tree.Path, "FOLDER", "fILE"))
			r.w.Again(filepath.Join(tree.Path, "fOLDER"))
			r.w.trees[0].examine(filepath.Join(tree.Path, "folder"), r.w.settle.now())
			r.upToDate(t, tree.Path)
			if err := os.Rename(filepath.Join(tree.Path, "Folder"), filepath.Join(tree.Path, "folder")); err != nil {
				t.Fatal(err)
			}
			if _, same := r.w.trees[0].real(filepath.Join(tree.Path, "folder")); !same {
				// Wine does not rename then.
				between := filepath.Join(t.TempDir(), "between")
				if err := errors.Join(os.Rename(filepath.Join(tree.Path, "Folder"), between), os.Rename(between, filepath.Join(tree.Path, "folder"))); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(tree.Path, "folder", "later"), "y")
			eventually(t, "a later file", func() bool { return r.has(filepath.Join(tree.Path, "folder", "later")) })
			r.upToDate(t, tree.Path)
			r.mu.Lock()
			defer r.mu.Unlock()
			for path := range r.index {
				rel := strings.TrimPrefix(path, tree.Path)
				if !strings.HasPrefix(rel, `\cookie`) && rel != `\Folder\File` && rel != `\folder\File` && rel != `\folder\later` {
					t.Errorf("%s came out", rel)
				}
			}
			if s := r.w.State()[0]; s.Unwatched != 0 || s.Directories != 2 {
				if engine != "fsnotify" || s.Unwatched != 1 {
					t.Errorf("state %+v", s)
				}
				// fsnotify closes the handle of a folder that is gone twice. In between it may
				// have become another one's: then that folder is swept again within the minute.
				t.Logf("fsnotify closed a handle that was not its own: %+v", s)
			}
		})
	}
}

// An event may name a file by its short name, if the volume has short names.
func TestShortNameIsTheSameFile(t *testing.T) {
	tree, r := oneBy(t, "windows")
	path := filepath.Join(tree.Path, "a folder of long name", "a file of long name.text")
	write(t, path, "x")
	eventually(t, "the file", func() bool { return r.has(path) })
	var b [1024]uint16
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := windows.GetShortPathName(name, &b[0], uint32(len(b))); err != nil {
		t.Fatal(err)
	}
	folder, file := filepath.Split(windows.UTF16ToString(b[:]))
	short := filepath.Join(tree.Path, filepath.Base(folder), file)
	if short == path {
		t.Skip("the volume makes no short names")
	}
	at := r.w.trees[0]
	at.watches.mu.Lock()
	source := at.watches.source
	at.watches.mu.Unlock()
	at.event(source, hint(tree.Path, fsnotify.Write, strings.TrimPrefix(short, tree.Path+`\`)))
	at.event(source, hint(tree.Path, fsnotify.Create, filepath.Base(folder)))
	r.upToDate(t, tree.Path)
	r.mu.Lock()
	defer r.mu.Unlock()
	for came := range r.index {
		if came != path && !strings.Contains(came, "cookie") {
			t.Errorf("%s came out", came)
		}
	}
}
