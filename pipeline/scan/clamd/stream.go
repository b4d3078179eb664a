// SPDX-License-Identifier: Apache-2.0

package clamd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/certpush/certpush/pipeline/scan"
)

const (
	streamBuffer = 256 << 10 // bytes for one read and write
	maxChunk     = 1 << 30   // bytes announced at once
)

// buffers lend stream its memory; they hold no state between uses.
var buffers = sync.Pool{New: func() any { return new([streamBuffer]byte) }}

// readError is a failure of the file, not of the scanner.
type readError struct{ err error }

func (e *readError) Error() string { return "read file: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

var errShrank = errors.New("it is shorter than it was")

// stream sends f as one INSTREAM. Its size is announced ahead, so a scanner that
// takes less refuses at once; it is read with ReadAt, so a short or failed read
// is told apart from a failed write, and the offset stays. A *readError means
// that the stream was left without its terminator.
func (s *session) stream(n int, f scan.File) error {
	lent := buffers.Get().(*[streamBuffer]byte)
	defer buffers.Put(lent)
	src := f.Reader()
	buf := append(lent[:0], "zINSTREAM\x00"...)
	for at, announced := int64(0), int64(0); at < f.Size; {
		if announced == 0 {
			announced = min(f.Size-at, maxChunk)
			buf = binary.BigEndian.AppendUint32(buf, uint32(announced))
		}
		// Room is kept for the next length, be it the terminator.
		room := min(announced, int64(streamBuffer-len(buf)-4))
		part := buf[len(buf) : len(buf)+int(room)]
		if got, err := src.ReadAt(part, at); got < len(part) {
			return &readError{shortRead(err, at+int64(got), f.Size)}
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
	s.ends(n)
	if _, err := s.conn.Write(buf); err != nil {
		return fmt.Errorf("send file: %w", err)
	}
	return nil
}

func shortRead(err error, at, size int64) error {
	if err == nil || errors.Is(err, io.EOF) {
		err = errShrank
	}
	return fmt.Errorf("at %d of %d bytes: %w", at, size, err)
}
