// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/certpush/certpush/pipeline/scan"
)

const (
	streamBuffer = 256 << 10 // bytes for one read and write
	maxChunk     = 1 << 30   // bytes announced at once
)

// buffers lend memory to stream. They hold nothing between two uses.
var buffers = sync.Pool{New: func() any { return new([streamBuffer]byte) }}

// readError says that the file could not be read. The scanner did not fail.
type readError struct{ err error }

func (e *readError) Error() string { return "read file: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

var (
	errShrank   = errors.New("it is shorter than it was")
	errInMemory = errors.New("its bytes are in memory and have no descriptor")
)

// stream sends f, which is file n of the session, as one INSTREAM. It announces the
// whole size ahead, up to maxChunk, so a clamd that takes less refuses at once. It
// reads with ReadAt, so that a failed read is not taken for a failed write. After a
// *readError the stream has no terminator: clamd does not take the part for the whole.
//
// The bytes are hashed as they are sent, for the file may change between two reads. A
// sealed file cannot.
func (s *session) stream(n int, f scan.File) error {
	lent := buffers.Get().(*[streamBuffer]byte)
	defer buffers.Put(lent)
	src := f.Reader()
	sum := sha256.New()
	buf := append(lent[:0], "zINSTREAM\x00"...)
	for at, announced := int64(0), int64(0); at < f.Size; {
		if announced == 0 {
			announced = min(f.Size-at, maxChunk)
			buf = binary.BigEndian.AppendUint32(buf, uint32(announced))
		}
		// Four bytes stay free for the next length, or for the terminator.
		room := min(announced, int64(streamBuffer-len(buf)-4))
		part := buf[len(buf) : len(buf)+int(room)]
		if got, err := src.ReadAt(part, at); got < len(part) {
			return &readError{shortRead(err, at+int64(got), f.Size)}
		}
		if !f.Sealed {
			sum.Write(part) // it never fails
		}
		buf = buf[:len(buf)+len(part)]
		at += room
		announced -= room
		if at == f.Size {
			break
		}
		if _, err := s.conn.Write(buf); err != nil {
			return fmt.Errorf("send file: %w", err)
		}
		buf = lent[:0]
		s.progress()
	}
	buf = binary.BigEndian.AppendUint32(buf, 0)
	s.lastByte(n, sentSum(f, sum))
	if _, err := s.conn.Write(buf); err != nil {
		return fmt.Errorf("send file: %w", err)
	}
	return nil
}

// sentSum returns the SHA-256 of the bytes of f that went into sum, or f's own if f is
// sealed.
func sentSum(f scan.File, sum hash.Hash) (out [32]byte) {
	if f.Sealed {
		return f.SHA256
	}
	sum.Sum(out[:0])
	return out
}

// shortRead returns the reason for which a read ended at a byte before size.
func shortRead(err error, at, size int64) error {
	if err == nil || errors.Is(err, io.EOF) {
		err = errShrank
	}
	return fmt.Errorf("at %d of %d bytes: %w", at, size, err)
}
