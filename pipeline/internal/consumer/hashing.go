// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/watch"
)

// openFile is the file of a push: open while it is in a session, and what its bytes
// hash to.
type openFile struct {
	tree     config.Tree // beneath which it was opened last
	f        *os.File    // nil: not open
	stat     watch.Stat  // when it was opened
	sum      [32]byte
	part     *reading // of a hash that was interrupted
	torn     bool     // the file changed while it was hashed, or its writer had it open then
	restless bool     // its changes are put up with: see restless
}

// reading is how far the hash of a file has come.
type reading struct {
	hash hash.Hash
	read int64
	stat watch.Stat
}

var (
	errInterrupted = errors.New("reading is interrupted")
	errMoved       = errors.New("it is another version by now")
)

// buffer returns what a file is read into. Each read is a system call that may cost
// a switch of threads: few and large ones.
func (o *opener) buffer() []byte {
	select {
	case b := <-o.bufs:
		return b
	default:
		return make([]byte, 2<<20)
	}
}

// spare keeps a buffer for the next file. Not all of those of slow sessions are
// kept, and the rest stay: memory neither grows with them nor comes and goes.
func (o *opener) spare(b []byte) {
	select {
	case o.bufs <- b:
	default:
	}
}

// hash reads the file through ReadAt, so that the descriptor that may be passed
// on stands at 0. A sparse file of terabytes costs its owner nothing and us hours,
// so the hash can be interrupted after each read, always: it goes on where it was
// while the file is the same. One that is not is errMoved, or a bare path begun
// anew, which has no line of its own to come.
func (o *opener) hash(ctx context.Context, p *push, enough func() bool) error {
	file := &p.file
	r := file.part
	file.part = nil
	switch {
	case r == nil, p.sample.Bare() && !r.stat.Same(file.stat):
		// Who has it open now can write it through a memory map, and no time tells.
		r, file.torn = &reading{hash: sha256.New(), stat: file.stat}, watch.Writing(file.f)
	case r.stat.Same(file.stat):
	case p.borne():
		r.stat, file.torn = file.stat, true
	default:
		return errMoved
	}
	buf := o.buffer()
	defer o.spare(buf)
	for r.read < file.stat.Size {
		if ctx.Err() != nil || enough() {
			file.part = r
			return errInterrupted
		}
		n, err := o.readAt(file.f, buf[:min(int64(len(buf)), file.stat.Size-r.read)], r.read)
		r.hash.Write(buf[:n]) // it never fails
		r.read += int64(n)
		if errors.Is(err, io.EOF) && r.read < file.stat.Size {
			return fmt.Errorf("read sample: it ends at %d of %d bytes: %w", r.read, file.stat.Size, io.ErrUnexpectedEOF)
		}
		if err != nil && r.read < file.stat.Size {
			return fmt.Errorf("read sample: %w", err)
		}
	}
	r.hash.Sum(file.sum[:0])
	return nil
}

// goOnFrom takes over how far the hash of old has come, where that is f's too.
func (f *openFile) goOnFrom(old *openFile, borne bool) {
	same := old.part.stat.Same(f.part.stat)
	if same && old.part.read > f.part.read || borne {
		f.part.hash, f.part.read, f.torn = old.part.hash, old.part.read, f.torn || old.torn || !same
	}
}

// borne reports whether p is pushed as found, whatever happens to it meanwhile.
func (p *push) borne() bool { return p.sample.Via == sample.ViaLimit || p.file.restless }

// vague reports whether what was hashed is perhaps not what the scanner is given.
// Of a file under its writer's hands no time tells all, for it may be written
// through a memory map.
func (p *push) vague() bool { return p.sample.Via == sample.ViaLimit || p.file.torn }

// moved reports whether the open file is another version now than when it was
// opened, also while the scanner held its descriptor. Whoever owns a file sets its
// size and its mtime as he likes; its ctime he does not.
func (f *openFile) moved() bool {
	st, err := watch.Fstat(f.f)
	return err != nil || !st.Same(f.stat)
}

// left reports whether the open file is as it was but for its ctime, and path does
// not lead to it any more: it was deleted or renamed, which alone changes the ctime.
// It cannot be pushed again under this name.
func (f *openFile) left(path string) bool {
	now, err := watch.Fstat(f.f)
	if err != nil || now.Size != f.stat.Size || now.Mtime != f.stat.Mtime {
		return false
	}
	there, err := watch.Lstat(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && (there.Inode != now.Inode || there.Dev != now.Dev)
}

func (f *openFile) shut() {
	if f.f != nil {
		f.f.Close() // it was only read
		f.f = nil
	}
}
