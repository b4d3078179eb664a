// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// Series is the writer of one lane, or of the ledger: one active segment, and the sealed
// ones beside it.
type Series struct {
	c   Config
	log *slog.Logger
	dir Folder

	turn chan struct{} // the goroutine whose value is in it may commit, cut or prune; guards the fields up to gathering
	f    File          // the active segment; nil: it could not be opened
	top  uint64        // the highest number of a sealed segment at open
	seg  uint64        // number of the active segment; without headers, counted by this process
	size int64         // bytes of the active segment that we know of
	head int64         // bytes of its header
	last sealedName    // of the newest sealed segment
	sick bool          // a write or sync failed: cut before the next line
	long bool          // the bytes that are not durable could not be cut off
	tick time.Time     // of the last fsync
	shut bool          // closed
	wet  []*batch      // written and not durable yet; all of them lie in the active segment

	doubt doubt // of the goroutine that has the turn
	gathering
	published
	haste
}

// OpenSeries opens or creates the series of c and repairs its tail. The caller holds the
// lock of the folder.
//
// A crash here: the next open does the same steps again. Each of them may find its work
// done, or half done.
func OpenSeries(c Config, log *slog.Logger) (*Series, error) {
	if c.Disk == nil {
		c.Disk = OS
	}
	d, err := c.Disk.OpenFolder(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open series %s: %w", c.Base, err)
	}
	s := &Series{c: c, log: log, dir: d, turn: make(chan struct{}, 1), gathering: gathering{next: newBatch(nil)}, published: published{moved: make(chan struct{})}, haste: haste{hurried: make(chan struct{})}, doubt: doubt{dir: d, base: c.Base, log: log}, seg: 1}
	names, err := sealed(d, c.Base)
	if err == nil && len(names) > 0 {
		s.last, _ = parseSealed(c.Base, names[len(names)-1])
	}
	if err == nil && c.Lane != "" {
		err = s.countFrom(names)
	}
	if _, missing := d.Lstat(c.Base); len(names) == 0 && missing != nil {
		s.seg = max(s.seg, c.First)
	}
	if err == nil {
		err = s.openActive()
	}
	if err == nil && s.sick {
		err = s.cut(time.Now(), s.seg+1) // a segment that another program began is sealed as it is
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open series %s: %w", c.Base, err), d.Close())
	}
	return s, nil
}

// commit writes b, and syncs if a caller waits for that. The caller holds the turn.
func (s *Series) commit(b *batch) error {
	if err := s.usable(); err != nil {
		return err
	}
	if wait := s.c.Sync - time.Since(s.tick); b.sync && s.c.Sync > 0 && wait > 0 {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-s.hurried: // a stop does not wait for it
			t.Stop()
		}
	}
	if s.size <= s.head {
		// This segment has no line yet, so it need not be sealed: otherwise each attempt
		// would leave one more empty segment while the disk refuses. That is safe, because
		// the write below begins in the first page, and the next sync writes that page
		// whole.
		s.sick = false
	}
	if s.sick || s.size-s.head > 0 && s.size+int64(len(b.buf)) > s.c.CutSize {
		if err := s.cut(time.Now(), s.seg+1); err != nil && s.sick {
			return err
		}
	}
	if err := s.mend(); err != nil {
		return err
	}
	b.base = Pos{s.seg, s.size}
	if _, err := s.f.Write(b.buf); err != nil {
		return s.distrust(fmt.Errorf("append to %s: %w", s.c.Base, err))
	}
	// A crash of the system here: the lines may be there whole, torn, or not at all. No
	// caller counts them as appended. The sweep finds the files of a lane's lines; outcomes
	// that are not there are pushed again. A crash of the process alone loses none.
	s.size += int64(len(b.buf))
	s.wet = append(s.wet, b)
	if !b.sync {
		return nil
	}
	return s.flush()
}

// flush makes all durable that is written. The caller holds the turn.
func (s *Series) flush() error {
	if len(s.wet) == 0 {
		return nil
	}
	if err := s.f.Sync(); err != nil {
		return s.distrust(fmt.Errorf("sync %s: %w", s.c.Base, err))
	}
	// A crash from here on loses none of them.
	s.tick = time.Now()
	s.publish(Pos{s.seg, s.size})
	return nil
}

// dry ends the batches that were written: they are durable, or cut off for err. The
// caller holds the turn.
func (s *Series) dry(err error) {
	for _, b := range s.wet {
		b.end(err)
	}
	clear(s.wet)
	s.wet = s.wet[:0]
}

// usable opens the active segment again, or cuts it back, if that failed before. The
// caller holds the turn. The error is os.ErrClosed after Close.
func (s *Series) usable() error {
	switch {
	case s.shut:
		return os.ErrClosed
	case s.f == nil:
		s.long = false
		return s.openActive()
	case s.long:
		return s.cutBack()
	}
	return nil
}

// mend takes note of lines that others appended, such as the bare paths of a shell
// script. If the last one has no end, it writes a newline.
func (s *Series) mend() error {
	st, err := s.f.Stat()
	if err != nil {
		return fmt.Errorf("stat %s: %w", s.c.Base, err)
	}
	if st.Size() == s.size {
		return nil
	}
	s.size = st.Size()
	var end [1]byte
	if s.size > 0 {
		if _, err := s.f.ReadAt(end[:], s.size-1); err != nil {
			return fmt.Errorf("read end of %s: %w", s.c.Base, err)
		}
	}
	if end[0] != '\n' && s.size > 0 {
		if _, err := s.f.Write([]byte{'\n'}); err != nil {
			return s.distrust(fmt.Errorf("end line of %s: %w", s.c.Base, err))
		}
		s.size++
	}
	return nil
}

// distrust cuts the segment back to its durable bytes, and lets it be sealed before the
// next line. After a failed fsync the kernel may have dropped the pages, and the next
// fsync would be a success that means nothing. What was written and is not durable ends
// with err. It returns err with its own error.
func (s *Series) distrust(err error) error {
	s.sick = true
	err = errors.Join(err, s.cutBack())
	s.dry(err)
	return err
}

// cutBack cuts off the bytes that are not durable. If they stayed, readers would return
// their lines after the seal; and their callers append those lines again.
func (s *Series) cutBack() error {
	back := s.Durable().Offset
	if err := s.f.Truncate(back); err != nil {
		s.long = true
		// A kill before they are cut off: the next open must not believe them.
		return fmt.Errorf("cut back %s: %w", s.c.Base, errors.Join(err, s.doubt.note()))
	}
	if s.long {
		s.doubt.end()
	}
	s.size, s.long = back, false
	return nil
}

// publish moves the durable end to p, which is the end of all that is written, and wakes
// the readers. The caller holds the turn.
func (s *Series) publish(p Pos) {
	s.move(p)
	s.dry(nil)
}

// Folder returns the folder of the segments. Close closes it.
func (s *Series) Folder() Folder { return s.dir }

// Adopt makes the whole lines durable that others appended to the active segment, so
// that readers return them. If there are none it costs one fstat.
func (s *Series) Adopt() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if err := s.usable(); err != nil {
		return err
	}
	st, err := s.f.Stat()
	if err != nil || st.Size() == s.size {
		return err
	}
	_, size, err := tornTail(s.f)
	if err != nil || size <= s.Durable().Offset {
		return err
	}
	if err := s.f.Sync(); err != nil {
		return s.distrust(fmt.Errorf("sync %s: %w", s.c.Base, err))
	}
	s.publish(Pos{s.seg, size})
	return nil
}

// Cut seals the active segment if it holds a line, and opens the next one.
func (s *Series) Cut(now time.Time) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.mend(); err != nil || s.size <= s.head {
		return err
	}
	return s.cut(now, s.seg+1)
}

// cut seals the active segment and opens the one numbered next. The caller holds the turn. On
// Windows another program that has the segment open can prevent the rename: then
// appending goes on, and a later cut tries again.
func (s *Series) cut(now time.Time, next uint64) error {
	if err := s.f.Sync(); err != nil && !s.sick {
		return s.distrust(fmt.Errorf("sync %s: %w", s.c.Base, err))
	}
	if len(s.wet) > 0 { // then the sync did not fail
		s.publish(Pos{s.seg, s.size})
	}
	name := s.last.next(now)
	if err := seal(s.dir, s.c.Base, name.format(s.c.Base)); err != nil {
		return fmt.Errorf("seal %s: %w", s.c.Base, err)
	}
	// A crash here: there is no active segment. The next open makes one.
	s.last = name
	if err := s.f.Close(); err != nil {
		s.log.Warn("close sealed segment", "segment", name.format(s.c.Base), "error", err)
	}
	s.f, s.sick = nil, false
	if err := s.dir.Sync(); err != nil {
		s.sick = true
	}
	s.seg = next
	if err := s.openActive(); err != nil {
		s.sick = true
		return fmt.Errorf("open next segment: %w", err)
	}
	return nil
}

// seal renames the active segment base to name. An earlier rename may have reported an
// error and yet have taken effect: then there is nothing to do.
func seal(dir Folder, base, name string) error {
	_, taken := dir.Lstat(name)
	_, gone := dir.Lstat(base)
	switch {
	case taken == nil && errors.Is(gone, fs.ErrNotExist):
		return nil
	case taken == nil:
		return fmt.Errorf("rename to %s: %w", name, fs.ErrExist)
	}
	return dir.Rename(base, name)
}

// Close ends the series and waits for a commit that runs. Lines for which Append
// returned are on disk already.
func (s *Series) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.shut {
		return nil
	}
	err := s.flush()
	s.shut = true
	err = errors.Join(err, s.dir.Close())
	if s.f != nil {
		err = errors.Join(s.f.Close(), err)
	}
	s.f = nil
	return err
}
