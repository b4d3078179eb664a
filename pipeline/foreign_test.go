// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// TestForeignFilesAreNamedAndLeftAlone in each folder of the state. Our own files are
// not named, whatever names they have.
func TestForeignFilesAreNamedAndLeftAlone(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *Config) { c.Journal.CutSize = 500 })
	l.start()
	l.swept()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		l.judged(l.write(name, name))
	}
	l.halt()
	l.start()
	l.swept()
	l.halt()
	if strings.Contains(l.logged(), "none of ours") {
		t.Error("our own files are called foreign")
	}
	var foreign []string
	for _, name := range []string{
		"notes.txt", "journal/core.1234", "journal/monitor.log.bak", "journal/monitor.log.20261122-1200.log/", "journal/backlog.log.20269999-9999.log",
		"cursors/readme", "cursors/hashlist.live.orig", "ledger/verdicts.log.gz", "ledger/sub/", hostileNames()[1],
	} {
		path := filepath.Join(l.c.State, name)
		foreign = append(foreign, path)
		if strings.HasSuffix(name, "/") {
			must(t, os.Mkdir(path, 0o700))
			continue
		}
		must(t, os.WriteFile(path, []byte("not ours"), 0o600))
	}
	if link := filepath.Join(l.c.State, "journal", "backlog.log.20261122-1201.log"); symlink("/etc/passwd", link) {
		foreign = append(foreign, link)
	}
	l.start()
	last := l.write("last", "last")
	l.judged(last)
	l.halt()
	for _, path := range foreign {
		// The log quotes a path that cannot be printed.
		if n := max(strings.Count(l.logged(), path), strings.Count(l.logged(), strings.Trim(strconv.Quote(path), `"`))); n != 1 {
			t.Errorf("%q is named %d times", path, n)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("it was not left alone: %v", err)
		}
	}
	if n := strings.Count(l.logged(), "none of ours"); n != len(foreign) {
		t.Errorf("%d warnings for %d files", n, len(foreign))
	}
	if n := len(l.ledgerLines()); n != 6 {
		t.Errorf("%d outcomes for 6 files", n)
	}
}

// TestWhatNothingRestsOnMayBeForeign: a folder lies in the place of tries.log, a file
// in the place of the cache, or a mark cannot be saved. That is logged, the foreign
// file stays, and everything else goes on. A stop is clean.
func TestWhatNothingRestsOnMayBeForeign(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *Config) { c.Scanners = []config.Scanner{{Name: "hashlist", Type: "hashlist", Cache: time.Hour}} })
	must(t, os.MkdirAll(filepath.Join(l.c.State, "ledger", ledger.TriesBase), 0o700))
	must(t, os.MkdirAll(filepath.Join(l.c.State, "cursors", "hashlist.mark.new"), 0o700))
	must(t, os.WriteFile(filepath.Join(l.c.State, "cache"), []byte("not ours"), 0o600))
	l.start()
	l.judged(l.write("a", "a"))
	l.judged(l.write("b", "b")) // the mark moves with a line that is read after an outcome
	if s := l.why(filepath.Join(l.drop, "a")); len(s.Outcomes) != 1 {
		t.Errorf("why: %+v", s)
	}
	l.halt()
	kept, err := filepath.Glob(filepath.Join(l.c.State, "cache.foreign-*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("what lay in the cache's place: %q %v", kept, err)
	}
	if text, err := os.ReadFile(kept[0]); string(text) != "not ours" {
		t.Errorf("%q %v", text, err)
	}
	for _, says := range []string{kept[0], ledger.TriesBase, "failed tries are not on record", "cursors cannot be saved", "hashlist.mark.new"} {
		if !strings.Contains(strings.ReplaceAll(l.logged(), `\\`, `\`), says) {
			t.Errorf("the log does not say %q", says)
		}
	}
}

// locked is a disk on which one file cannot be opened, as if another user owned it. The
// tests run as root, which no file mode stops.
type locked struct {
	journal.Disk
	mu   sync.Mutex
	name string
}

func (d *locked) set(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.name = filepath.FromSlash(name)
}

// OpenFolder implements journal.Disk.
func (d *locked) OpenFolder(dir string) (journal.Folder, error) {
	f, err := d.Disk.OpenFolder(dir)
	return &lockedFolder{f, d}, err
}

type lockedFolder struct {
	journal.Folder
	d *locked
}

// Open implements journal.Folder.
func (f *lockedFolder) Open(name string, flag int) (journal.File, error) {
	path := filepath.Join(f.Path(), name)
	f.d.mu.Lock()
	refused := f.d.name != "" && strings.HasSuffix(path, f.d.name)
	f.d.mu.Unlock()
	if refused {
		return nil, &fs.PathError{Op: "openat", Path: path, Err: fs.ErrPermission}
	}
	return f.Folder.Open(name, flag)
}

// TestAFileOfTheStateCannotBeRead: the file is named in the log, the service lives on
// and loses nothing. If it cannot work without the file, it waits for it.
func TestAFileOfTheStateCannotBeRead(t *testing.T) {
	for _, name := range []string{"journal/monitor.log", "journal/backlog.log", "journal/SEALED", "journal/.segments", "ledger/verdicts.log", "cursors/hashlist.live", "cursors/hashlist.mark"} {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			d := &locked{Disk: journal.OS}
			l := newLab(t, func(c *Config) {
				c.disk, c.Journal.CutSize = store.Disk{Disk: d, Pebble: vfs.Default}, 500
			})
			l.start()
			l.swept()
			var paths []string
			for _, file := range []string{"a", "b", "c", "d", "e"} {
				paths = append(paths, l.write(file, file))
				l.judged(paths...)
			}
			l.until("cursor", func() bool {
				_, err := os.Stat(filepath.Join(l.c.State, "cursors", "hashlist.mark"))
				return err == nil
			})
			l.halt()
			if name == "journal/SEALED" {
				name = "journal/" + filepath.Base(l.sealed()[0])
			}
			d.set(name)
			l.start()
			paths = append(paths, l.write("last", "last"))
			l.until("its name in the log", func() bool {
				return strings.Contains(strings.ReplaceAll(l.logged(), `\\`, `\`), filepath.Join(l.c.State, name)) || name == "journal/.segments"
			})
			d.set("")
			l.judged(paths...)
			l.until("nothing waits", func() bool {
				s := l.p.Status().Scanners
				return len(s) == 1 && s[0].Waiting == 0
			})
			l.halt()
			if n := len(l.lines("live")) + len(l.lines("backlog")); n != len(paths) {
				t.Errorf("%d lines for %d files", n, len(paths))
			}
		})
	}
}

// TestTheListOfForeignSegmentsIsGarbage: that is logged, and no line is lost. Pushes
// may be repeated.
func TestTheListOfForeignSegmentsIsGarbage(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t)
	first, log := l.write("first", "1"), filepath.Join(dir, "monitor.log")
	must(t, os.WriteFile(log, []byte(first+"\n"), 0o600))
	l.c.Half, l.c.Journal.Dir, l.c.State = config.ConsumerOnly, dir, filepath.Join(dir, ".certpush")
	l.start()
	l.judged(first)
	l.halt()
	must(t, os.Rename(log, log+".20261122-1200.log"))
	second := l.write("second", "2")
	must(t, os.WriteFile(log, []byte(second+"\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, ".segments"), []byte("no number here\n\x00\x00\x00"), 0o600))
	l.start()
	l.judged(second)
	l.halt()
	if n := strings.Count(l.logged(), "list of another program's segments"); n != 1 || !strings.Contains(l.logged(), "lines=2") {
		t.Errorf("said %d times", n)
	}
}
