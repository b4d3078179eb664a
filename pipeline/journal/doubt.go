// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
)

// DoubtEnd ends the name of the empty file that lies beside an active segment while it is
// not known whether its lines are durable.
const DoubtEnd = ".unsynced"

// doubt is about the lines of an active segment that were there at an open. If their sync
// fails, the system may have dropped them, and tells so once: the next sync, by another
// descriptor, would be a success that means nothing. So a file beside the segment says that
// one is tried. Who finds it there writes the lines anew first, each in its place. Who cannot
// make it does not sync.
type doubt struct {
	dir  Folder
	base string // of the segment
	log  *slog.Logger
	anew bool // the lines were written anew, and that is not logged yet
}

// begin comes before the sync of a segment of this size in bytes.
//
// A crash here, until end: the next open writes the lines anew.
func (d *doubt) begin(size int64) error {
	_, err := d.dir.Lstat(d.base + DoubtEnd)
	switch {
	case err == nil:
		d.anew = true
		return d.rewrite(size)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look at doubt of %s: %w", d.base, err)
	}
	return d.note()
}

// note makes the file.
func (d *doubt) note() error {
	f, err := d.dir.Open(d.base+DoubtEnd, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return fmt.Errorf("note doubt of %s: %w", d.base, err)
	}
	_ = f.Close() // that it is there is enough
	return nil
}

// end says that the lines are durable, or cut off. If the file stays, the next open writes
// them anew for nothing. Only here it is logged: an open that fails is tried again and again.
func (d *doubt) end() {
	if d.anew {
		d.log.Warn("the last sync of a segment did not end, so its lines are written anew: look at the disk", "segment", d.base)
	}
	d.anew = false
	_ = d.dir.Remove(d.base + DoubtEnd)
}

// rewrite writes the bytes of the segment anew, each in its place: so the next sync writes
// them to the disk, whatever became of the last one.
func (d *doubt) rewrite(size int64) error {
	f, err := d.dir.Open(d.base, os.O_RDWR)
	if err != nil {
		return fmt.Errorf("open active segment: %w", err)
	}
	defer f.Close()
	buf := make([]byte, min(size, 1<<20))
	for at := int64(0); at < size; at += int64(len(buf)) {
		buf = buf[:min(size-at, int64(len(buf)))]
		if _, err := f.ReadAt(buf, at); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read active segment: %w", err)
		}
		// A crash here leaves the same bytes, written or not.
		if _, err := f.Write(buf); err != nil {
			return fmt.Errorf("write active segment anew: %w", err)
		}
	}
	return nil
}
