// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"
)

// Disk is the only way in which journal, ledger and cursors reach files. OS is the disk
// of the machine; disktest has one that forgets all that was not synced.
type Disk interface {
	// OpenFolder opens dir. If dir is missing it makes it, durably.
	OpenFolder(dir string) (Folder, error)
	// FindFolder opens dir where it is there, and makes nothing. Its error wraps
	// fs.ErrNotExist where it is not.
	FindFolder(dir string) (Folder, error)
	// TakeLock takes the lock named half in each of dirs, until Close or the end of the
	// process. If another process holds one of them it takes none, and the error wraps
	// ErrLocked.
	TakeLock(half string, dirs ...string) (io.Closer, error)
}

// Folder is one folder. A name is that of an entry in it, never a path.
type Folder interface {
	// Path returns the path of the folder, to be shown to people.
	Path() string
	// Open opens a file with the flags of os.OpenFile. It refuses an entry that is not a
	// regular file, so that nobody can plant a link in place of a file of ours.
	Open(name string, flag int) (File, error)
	Lstat(name string) (fs.FileInfo, error)
	List() ([]fs.DirEntry, error)
	Rename(from, to string) error
	Remove(name string) error
	// Sync makes the names durable. Without it a file that was synced may have no name
	// after a power cut.
	Sync() error
	// Lock takes the lock file name, which it makes where it is missing, until Close or the
	// end of the process. It waits while somebody else holds it, in this process or another.
	Lock(name string) (io.Closer, error)
	// Free returns how many bytes may still be written.
	Free() (int64, error)
	// Listen calls changed after something happened in the folder, until ctx ends. It
	// may also call it when nothing happened.
	Listen(ctx context.Context, log *slog.Logger, changed func()) error
	Close() error
}

// File is an open file of a Folder. Writes append.
type File interface {
	io.ReaderAt
	io.Writer
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	// Sync makes all bytes of the file durable, whoever wrote them. It also works on a
	// file that was opened to read.
	Sync() error
	// ID returns a name of the file that stays the same when it is renamed.
	ID() (string, error)
}

// OS is the disk of the machine. It opens files by os.Root. On Windows os.Root uses
// FILE_SHARE_DELETE, so a reader does not prevent a cut.
var OS Disk = system{}

type system struct{}

// OpenFolder implements Disk.
func (system) OpenFolder(dir string) (Folder, error) {
	if err := makeFolder(dir); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	return &folder{dir, root}, nil
}

// FindFolder implements Disk.
func (system) FindFolder(dir string) (Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	return &folder{dir, root}, nil
}

// makeFolder makes dir and the folders above it that are missing, durably. If the name
// of a folder is lost, the files that were synced in it are lost too.
func makeFolder(dir string) error {
	parent := filepath.Dir(dir)
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		// The process that made it may have ended before it synced the name. If we may not
		// read the parent, then we did not make the folder.
		if err := syncDir(parent); !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	}
	if parent != dir {
		if err := makeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// A crash here: the folder may be gone again. It was empty.
	return syncDir(parent)
}

// folder is a Folder of the system.
type folder struct {
	dir  string
	root *os.Root
}

// Path implements Folder.
func (d *folder) Path() string { return d.dir }

// Open implements Folder.
func (d *folder) Open(name string, flag int) (File, error) {
	if st, err := d.root.Lstat(name); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: not a regular file: move it away", filepath.Join(d.dir, name))
	}
	f, err := d.root.OpenFile(name, flag, 0o640)
	if err != nil {
		return nil, d.where(err)
	}
	return file{f, filepath.Join(d.dir, name), flag&(os.O_WRONLY|os.O_RDWR) != 0}, nil
}

// Lstat implements Folder.
func (d *folder) Lstat(name string) (fs.FileInfo, error) {
	st, err := d.root.Lstat(name)
	return st, d.where(err)
}

// List implements Folder.
func (d *folder) List() ([]fs.DirEntry, error) { return os.ReadDir(d.dir) }

// Rename implements Folder.
func (d *folder) Rename(from, to string) error { return d.where(d.root.Rename(from, to)) }

// Remove implements Folder.
func (d *folder) Remove(name string) error { return d.where(d.root.Remove(name)) }

// where returns an error of os.Root with the full path in place of the name, so that an
// operator can find the file.
func (d *folder) where(err error) error {
	if bad, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: bad.Op, Path: filepath.Join(d.dir, bad.Path), Err: bad.Err}
	}
	if bad, ok := errors.AsType[*os.LinkError](err); ok {
		return &os.LinkError{Op: bad.Op, Old: filepath.Join(d.dir, bad.Old), New: filepath.Join(d.dir, bad.New), Err: bad.Err}
	}
	return err
}

// Sync implements Folder.
func (d *folder) Sync() error { return syncDir(d.dir) }

// Lock implements Folder.
func (d *folder) Lock(name string) (io.Closer, error) {
	f := flock.New(filepath.Join(d.dir, name), flock.SetFlag(os.O_CREATE|lockFlags), flock.SetPermissions(0o640))
	if err := f.Lock(); err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Path(), err)
	}
	return f, nil
}

// Free implements Folder.
func (d *folder) Free() (int64, error) { return free(d.dir) }

// Listen implements Folder.
func (d *folder) Listen(ctx context.Context, log *slog.Logger, changed func()) error {
	return listen(ctx, d.dir, log, changed)
}

// Close implements Folder.
func (d *folder) Close() error { return d.root.Close() }

// file is a File of the system.
type file struct {
	*os.File
	path   string
	writes bool // opened to write
}

// Sync implements File.
func (f file) Sync() error {
	if f.writes {
		return f.File.Sync()
	}
	return syncForReader(f.path, f.File)
}

// ID implements File.
func (f file) ID() (string, error) { return fileID(f.File) }

// sealed returns the names of the sealed segments of base, in the order of cutting.
func sealed(d Folder, base string) ([]string, error) {
	entries, err := d.List()
	if err != nil {
		return nil, fmt.Errorf("list folder: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, ok := parseSealed(base, e.Name()); ok && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Segments returns the names of the segments of base in order. The last one is that of
// the active segment, even if there is none.
func Segments(d Folder, base string) ([]string, error) {
	names, err := sealed(d, base)
	return append(names, base), err
}

// FirstLine returns the first line of a segment without its newline, or its first
// MaxLine bytes. whole is false if there is no newline in them.
func FirstLine(d Folder, name string) (line []byte, whole bool, err error) {
	f, err := d.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	return firstLine(f, name)
}

// FirstLineOf is FirstLine for a segment that is open.
func FirstLineOf(f File, name string) (line []byte, whole bool, err error) { return firstLine(f, name) }

func firstLine(f File, name string) (line []byte, whole bool, err error) {
	line, err = bufio.NewReader(io.NewSectionReader(f, 0, MaxLine)).ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		return line, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read first line of %s: %w", name, err)
	}
	return line[:len(line)-1], true, nil
}

// LoadText reads a small file, at most maxText bytes of it.
func LoadText(d Folder, name string) (string, error) {
	f, err := d.Open(name, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxText))
	return string(text), err
}

// maxText is the longest small file, in bytes.
const maxText = 64 << 20

// SaveText replaces a small file, and syncs it and its folder. A crash leaves the old
// file or the new one, whole.
func SaveText(d Folder, name, text string) error {
	return save(d, name, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// save is SaveText for the bytes that write writes.
func save(d Folder, name string, write func(io.Writer) error) error {
	if err := replace(d, name, write); err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	return nil
}

func replace(d Folder, name string, write func(io.Writer) error) error {
	tmp := name + ".new"
	f, err := d.Open(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	// A crash here leaves the old file.
	if err := renameOver(d, tmp, name); err != nil {
		return err
	}
	// A crash here leaves the old file or the new one.
	return d.Sync()
}
