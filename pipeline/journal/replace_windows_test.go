// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// letsGo is a folder in which another program reads a file until the file could not be
// replaced so many times.
type letsGo struct {
	Folder
	reader *os.File
	after  int
}

func (l *letsGo) Rename(from, to string) error {
	err := l.Folder.Rename(from, to)
	if l.after--; l.after == 0 {
		l.reader.Close()
	}
	return err
}

// TestAFileIsReplacedWhenItsReaderEnds: a reader that does not share deletion, as backups
// and virus scanners, keeps a small file from being replaced only as long as it reads.
func TestAFileIsReplacedWhenItsReaderEnds(t *testing.T) {
	dir := t.TempDir()
	d, err := OS.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	save := func(after int, text string) error {
		reader, err := os.Open(filepath.Join(dir, "a"))
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		return SaveText(&letsGo{d, reader, after}, "a", text)
	}
	if err := SaveText(d, "a", "one"); err != nil {
		t.Fatal(err)
	}
	if err := save(3, "two"); err != nil {
		t.Errorf("its reader ended: %v", err)
	}
	if err := save(-1, "three"); err == nil || !strings.Contains(err.Error(), "another program holds the file") {
		t.Errorf("its reader never ends: %v", err)
	}
	if text, err := LoadText(d, "a"); err != nil || text != "two" {
		t.Errorf("%q, %v", text, err)
	}
}
