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
	"github.com/certpush/certpush/pipeline/scan"
	"github.com/certpush/certpush/pipeline/watch"
)

// openFile is the file of a push and its hash. The file is open only while the push is
// in a session.
type openFile struct {
	tree     config.Tree // it was opened beneath this tree last
	f        *os.File    // nil: not open
	stat     watch.Stat  // its version when it was opened
	sum      [32]byte    // its SHA-256
	part     *reading    // the hash that was interrupted; nil: none was
	torn     bool        // the file changed while it was hashed, or a writer had it open then
	restless bool        // its changes are ignored: see the type restless
	asFound  bool        // the version that lies there is pushed: other lines of its path gave way to this one
	copied   copied      // the bytes that were hashed, if they were copied; only while the file is open
}

// copied is the copy of a sample's bytes, and what a scanner gets of it.
type copied struct {
	is   bool
	copy *sealed
	file scan.File
}

// reading is a hash that is not complete yet.
type reading struct {
	hash hash.Hash
	read int64      // bytes hashed
	stat watch.Stat // the version that is hashed
}

var (
	errInterrupted = errors.New("reading is interrupted")
	errMoved       = errors.New("it is another version by now")
)

// buffer returns a buffer of 2 MiB to read a file into. It is large because each read is
// a system call, which may cost a switch of threads.
func (o *opener) buffer() []byte {
	select {
	case b := <-o.bufs:
		return b
	default:
		return make([]byte, 2<<20)
	}
}

// spare keeps a buffer for the next file. At most sessionsAtOnce buffers are kept, so
// slow sessions leave no memory behind, and the others do not allocate it again.
func (o *opener) spare(b []byte) {
	select {
	case o.bufs <- b:
	default:
	}
}

// hash computes the SHA-256 of the open file of p. It uses ReadAt, so that the offset of
// the descriptor, which may be passed to the scanner, stays 0.
//
// After each read it returns errInterrupted if ctx has ended or enough returns true:
// a sparse file of terabytes costs its owner nothing and us hours. The next call goes on
// where this one was, if the file has not changed. If it has, the error is errMoved; but
// a bare path begins again, because its change brings no new line.
func (o *opener) hash(ctx context.Context, p *push, enough func() bool) error {
	file := &p.file
	r := file.part
	file.part = nil
	switch {
	case r == nil, p.sample.Bare() && !r.stat.Same(file.stat):
		// A writer that has it open now can write through a memory map, and the times of
		// the file do not show that.
		r, file.torn = &reading{hash: sha256.New(), stat: file.stat}, watch.Writing(file.f)
	case r.stat.Same(file.stat):
	case p.borne():
		r.stat, file.torn = file.stat, true
	default:
		return errMoved
	}
	buf := o.buffer()
	defer o.spare(buf)
	k, copies := o.copy(r, file.stat.Size)
	defer func() {
		if copies && !file.copied.is {
			k.drop()
		}
	}()
	for r.read < file.stat.Size {
		if ctx.Err() != nil || enough() {
			file.part = r
			return errInterrupted
		}
		n, err := o.readAt(file.f, buf[:min(int64(len(buf)), file.stat.Size-r.read)], r.read)
		r.hash.Write(buf[:n]) // it never fails
		if copies {
			if _, err := k.WriteAt(buf[:n], r.read); err != nil {
				return fmt.Errorf("copy sample: %w", err)
			}
		}
		r.read += int64(n)
		if errors.Is(err, io.EOF) && r.read < file.stat.Size {
			return fmt.Errorf("read sample: it ends at %d of %d bytes: %w", r.read, file.stat.Size, io.ErrUnexpectedEOF)
		}
		if err != nil && r.read < file.stat.Size {
			return fmt.Errorf("read sample: %w", err)
		}
	}
	r.hash.Sum(file.sum[:0])
	if copies {
		f, err := k.Seal(file.f, r.read, file.sum)
		if err != nil {
			return err
		}
		file.copied = copied{true, k, f}
	}
	return nil
}

// copy returns a copy to fill while r is hashed. ok is false if there is none: the sample
// is large and nobody asked for a copy, there is no room for it, or a part was hashed
// before.
func (o *opener) copy(r *reading, size int64) (k *sealed, ok bool) {
	if r.read > 0 || size > copySmall && !o.copyAll {
		return nil, false
	}
	if k, ok = o.copies.take(size, o.passes); !ok {
		o.uncopied.Inc()
	}
	return k, ok
}

// goOnFrom takes over the hash of old, if it is of the same version and further, or if
// f is pushed as found (borne). Both files must have an interrupted hash.
func (f *openFile) goOnFrom(old *openFile, borne bool) {
	same := old.part.stat.Same(f.part.stat)
	if same && old.part.read > f.part.read || borne {
		f.part.hash, f.part.read, f.torn = old.part.hash, old.part.read, f.torn || old.torn || !same
	}
}

// borne reports whether p is pushed as found, even if its file changes meanwhile.
func (p *push) borne() bool {
	return p.sample.Via == sample.ViaLimit || p.file.restless || p.file.asFound
}

// vague reports whether the bytes that were hashed may differ from the bytes that the
// scanner gets. That is so for a file that a writer has open: it may be written through
// a memory map, and the times of the file do not show that.
func (p *push) vague() bool { return p.sample.Via == sample.ViaLimit || p.file.torn }

// moved reports whether the open file has another version now than when it was opened.
// It compares the ctime too: the owner of a file can set its size and its mtime, but not
// its ctime.
func (f *openFile) moved() bool {
	st, err := watch.Fstat(f.f)
	return err != nil || !st.Same(f.stat)
}

// left reports whether the file was deleted or renamed since it was opened, and not
// written: path does not lead to it any more, and its size and mtime are the same.
// (Deleting and renaming change the ctime.) Such a file cannot be pushed again under
// this name.
func (f *openFile) left(path string) bool {
	now, err := watch.Fstat(f.f)
	if err != nil || now.Size != f.stat.Size || now.Mtime != f.stat.Mtime {
		return false
	}
	there, err := watch.Lstat(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && (there.Inode != now.Inode || there.Dev != now.Dev)
}

// toScan returns the open file for a scanner.
func (f *openFile) toScan() scan.File {
	if f.copied.is {
		return f.copied.file
	}
	return scan.File{F: f.f, Size: f.stat.Size, SHA256: f.sum}
}

// scanned returns the SHA-256 of the very bytes that the scanner was handed. It is known
// if they were a copy of ours, or if the driver read them itself.
func (f *openFile) scanned(a scan.Answer) (sum [32]byte, exact bool) {
	if f.copied.is {
		return f.sum, true
	}
	return a.SHA256, a.SHA256 != [32]byte{}
}

func (f *openFile) shut() {
	if f.f != nil {
		f.f.Close() // the file was only read: an error loses nothing
		f.f = nil
	}
	if f.copied.is {
		f.copied.copy.drop()
		f.copied = copied{}
	}
}
