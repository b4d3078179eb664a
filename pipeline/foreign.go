// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certpush/certpush/pipeline/internal/ledger"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// maxForeign is how many foreign entries of one folder are logged one by one.
const maxForeign = 20

// tellForeign logs the entries of the state's folders that are not ours, and our files
// that cannot be read. It leaves them all alone: another program may need them.
func (p *Pipeline) tellForeign(dirs *store.Folders, led *ledger.Ledger) {
	c := p.c
	tellForeignIn(dirs.State, c.Log, func(e fs.DirEntry) bool { return ofState(c, e) })
	tellForeignIn(dirs.Journal, c.Log, func(e fs.DirEntry) bool {
		return e.Name() == filepath.Base(c.State) && watch.Within(c.Journal.Dir, c.State) || ofSeries(e, ".segments", journal.Base(journal.Live), journal.Base(journal.Backlog))
	})
	if bad, err := journal.UnreadableNumbers(dirs.Journal); err == nil && bad > 0 {
		c.Log.Error("the list of another program's segments holds lines that are none; those segments are numbered and read anew, and pushes are repeated: look at the disk", "file", filepath.Join(dirs.Journal.Path(), ".segments"), "lines", bad)
	}
	tellForeignIn(dirs.Cursors, c.Log, ofCursors)
	if led != nil {
		tellForeignIn(led.Dir, c.Log, func(e fs.DirEntry) bool { return ofSeries(e, ledger.Base, ledger.TriesBase) })
	}
}

// tellForeignIn does this for one folder. ours reports whether an entry is ours.
func tellForeignIn(d journal.Folder, log *slog.Logger, ours func(fs.DirEntry) bool) {
	entries, err := d.List()
	if err != nil {
		log.Warn("folder of the state cannot be listed: look at its permissions and at the disk", "folder", d.Path(), "error", err)
		return
	}
	n := 0
	for _, e := range entries {
		path := filepath.Join(d.Path(), e.Name())
		switch {
		case e.Name() == "lost+found" || strings.HasSuffix(e.Name(), ".lock"): // a folder of the file system, and lock files
		case !ours(e):
			if n++; n <= maxForeign {
				log.Warn("a file that is none of ours lies in the state; it is left alone: move it away", "file", path, "kind", e.Type().String())
			}
		case e.Type().IsRegular():
			f, err := d.Open(e.Name(), os.O_RDONLY)
			if err == nil {
				f.Close()
			} else if !errors.Is(err, fs.ErrNotExist) {
				log.Error("a file of the state cannot be read; it is left alone: let the user that certpush runs as read it, or mend the disk", "file", path, "error", err)
			}
		}
	}
	if n > maxForeign {
		log.Warn("more files that are none of ours lie in the state; they are left alone: move them away", "folder", d.Path(), "more", n-maxForeign)
	}
}

// ofState reports whether e belongs in the state folder itself: our folders, the
// service's token and socket, a log that the service may write there, and on Windows
// the configuration, which an installation may have put aside.
func ofState(c Config, e fs.DirEntry) bool {
	name := strings.TrimSuffix(e.Name(), ".new")
	if e.IsDir() {
		return slices.Contains([]string{"ledger", "cursors", "index", "cache", "engine-test"}, name) || strings.HasPrefix(name, "index.broken-") || watch.Within(filepath.Join(c.State, name), c.Journal.Dir)
	}
	if e.Type()&fs.ModeSocket != 0 {
		return true
	}
	return e.Type().IsRegular() && (slices.Contains([]string{"admin.token", "admin.listen", "admin.door", "admin.door.push", "certpush.toml", "certpush.toml.untrusted"}, name) || strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".log.gz"))
}

// ofSeries reports whether e is a segment of one of these series or the keys of one, or
// has one of these names.
func ofSeries(e fs.DirEntry, names ...string) bool {
	return e.Type().IsRegular() && slices.ContainsFunc(names, func(base string) bool {
		name := strings.TrimSuffix(e.Name(), ".new")
		return name == base || journal.IsSealed(base, e.Name()) || journal.IsRotated(base, e.Name()) || journal.IsPacked(base, e.Name()) || journal.IsKeys(base, name) || name == base+journal.DoubtEnd
	})
}

// ofCursors reports whether e belongs to a scanner, even to one that is not configured
// any more, or tells damage.
func ofCursors(e fs.DirEntry) bool {
	name := strings.TrimSuffix(strings.TrimSuffix(e.Name(), ".new"), ".removed")
	if _, ok := sample.ParseDamage(name); ok || store.IsTakenBack(name) || strings.HasPrefix(name, scan.CanaryFile) {
		return true
	}
	return e.Type().IsRegular() && slices.ContainsFunc(append([]string{"mark", "paused", "sight"}, sample.Lanes...), func(kind string) bool { return strings.HasSuffix(name, "."+kind) })
}
