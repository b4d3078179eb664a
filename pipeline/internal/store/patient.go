// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// patient is a disk on which a write of Pebble does not fail, because Pebble ends the
// process when one does. If the disk refuses an operation, it is tried again until the
// disk allows it. Callers of Pebble wait meanwhile: intake stops, pushing goes on.
type patient struct {
	vfs.FS
	log *slog.Logger

	mu      sync.Mutex              // guards the fields below
	refused int                     // how many operations are being tried again
	why     error                   // the error of the first of them
	end     context.CancelCauseFunc // ends the context of unlessStalled; may be nil
}

// retryEvery is how long a refused operation waits before it is tried again.
const retryEvery = 500 * time.Millisecond

// insist calls f until nothing hinders it. It returns any other error, such as that a
// file is not there: that is an answer.
func (p *patient) insist(f func() error) error { return p.while(Hinders, f) }

// while calls f as long as its error is one of those that wait.
func (p *patient) while(wait func(error) bool, f func() error) error {
	err := f()
	if !wait(err) {
		return err
	}
	p.trouble(1, err)
	for wait(err) {
		time.Sleep(retryEvery)
		err = f()
	}
	p.trouble(-1, nil)
	return err
}

// Hinders reports whether err says only that something keeps us from a file now: the
// disk refuses, descriptors, memory or rights are wanting, or on Windows another program
// holds the file. Such an error is never damage: what it was about may be sound.
func Hinders(err error) bool { return Passes(err) || errors.Is(err, fs.ErrPermission) }

// Passes reports whether err is one of these, but no want of rights: it may pass by
// itself.
func Passes(err error) bool { return Refuses(err) || Exhausted(err) || busy(err) }

// Refuses reports whether err says that the disk is full, fails, or may only be read.
func Refuses(err error) bool { return troubled(err) || readOnly(err) }

// trouble adds n to the refused operations. It logs the first one, and when none is
// left.
func (p *patient) trouble(n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.refused
	p.refused += n
	switch {
	case was == 0:
		p.why = err
		if p.end != nil {
			p.end(err)
		}
		p.log.Error("a store cannot be written; what needs it waits, pushing goes on: make room on its disk, or mend it", "error", err)
	case p.refused == 0:
		p.why = nil
		p.log.Info("a store can be written again")
	}
}

// stalled returns why an operation is being tried again, or nil if none is.
func (p *patient) stalled() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}

// unlessStalled returns a context that also ends, with the reason, when the disk begins
// to refuse. So the caller gets an error instead of waiting.
func (p *patient) unlessStalled(ctx context.Context) context.Context {
	ctx, end := context.WithCancelCause(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end = end; p.why != nil {
		end(p.why)
	}
	return ctx
}

// opened opens a file by insist, and returns it as a patientFile.
func (p *patient) opened(open func() (vfs.File, error)) (f vfs.File, err error) {
	err = p.insist(func() (err error) { f, err = open(); return err })
	if err != nil {
		return nil, err
	}
	return patientFile{f, p}, nil
}

// Create implements vfs.FS.
func (p *patient) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return p.opened(func() (vfs.File, error) { return p.FS.Create(name, c) })
}

// OpenReadWrite implements vfs.FS.
func (p *patient) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return p.opened(func() (vfs.File, error) { return p.FS.OpenReadWrite(name, c, o...) })
}

// ReuseForWrite implements vfs.FS.
func (p *patient) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return p.opened(func() (vfs.File, error) { return p.FS.ReuseForWrite(from, to, c) })
}

// OpenDir implements vfs.FS.
func (p *patient) OpenDir(name string) (vfs.File, error) {
	return p.opened(func() (vfs.File, error) { return p.FS.OpenDir(name) })
}

// Rename implements vfs.FS.
func (p *patient) Rename(from, to string) error {
	return p.insist(func() error { return p.FS.Rename(from, to) })
}

// Link implements vfs.FS.
func (p *patient) Link(from, to string) error {
	return p.insist(func() error { return p.FS.Link(from, to) })
}

// Remove implements vfs.FS. It does not wait where the file may not be removed: on
// Windows one that is open may not, and Pebble does without.
func (p *patient) Remove(name string) error {
	wait := func(err error) bool { return Refuses(err) || Exhausted(err) }
	return p.while(wait, func() error { return p.FS.Remove(name) })
}

// patientFile is a file of a patient disk. If a sync fails and then succeeds, pages may
// be lost: Pebble finds that when it opens the store the next time, and the index is
// built anew.
type patientFile struct {
	vfs.File
	p *patient
}

// Write implements vfs.File. Bytes that were written before a refusal are not written
// again.
func (f patientFile) Write(b []byte) (int, error) {
	n := 0
	err := f.p.insist(func() error {
		k, err := f.File.Write(b[n:])
		n += k
		return err
	})
	return n, err
}

// Sync implements vfs.File.
func (f patientFile) Sync() error { return f.p.insist(f.File.Sync) }

// SyncData implements vfs.File.
func (f patientFile) SyncData() error { return f.p.insist(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f patientFile) SyncTo(n int64) (full bool, err error) {
	err = f.p.insist(func() (err error) { full, err = f.File.SyncTo(n); return err })
	return full, err
}
