// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// folder is where segments lie: the narrow way of all file operations. It goes
// through os.Root, which on Windows opens with FILE_SHARE_DELETE, so that a
// reader does not stand in the way of a cut.
type folder struct {
	dir  string
	root *os.Root
}

func openFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make journal folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open journal folder: %w", err)
	}
	return &folder{dir, root}, nil
}

func (d *folder) close() error { return d.root.Close() }

// open opens a segment, and refuses what is not a regular file: nobody may
// plant a link where our own files are.
func (d *folder) open(name string, flag int) (*os.File, error) {
	if st, err := d.root.Lstat(name); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: not a regular file: move it away", filepath.Join(d.dir, name))
	}
	return d.root.OpenFile(name, flag, 0o640)
}

func (d *folder) rename(from, to string) error {
	if _, err := d.root.Lstat(to); err == nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, fs.ErrExist)
	}
	return d.root.Rename(from, to)
}

// sync makes entries of the folder durable: without it a file that was synced
// may have no name after a power cut.
func (d *folder) sync() error { return syncDir(d.dir) }

// sealed lists the sealed segments of base in order of cutting.
func (d *folder) sealed(base string) ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("list journal folder: %w", err)
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

// first returns the first line of a segment without its newline, at most
// MaxLine bytes of it; whole is false while the line has no end yet.
func (d *folder) first(name string) (line []byte, whole bool, err error) {
	f, err := d.open(name, os.O_RDONLY)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	line, err = bufio.NewReader(io.LimitReader(f, MaxLine)).ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		return line, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read first line of %s: %w", name, err)
	}
	return line[:len(line)-1], true, nil
}
