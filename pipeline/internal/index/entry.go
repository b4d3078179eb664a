// SPDX-License-Identifier: Apache-2.0

package index

import (
	"encoding/binary"

	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

// Bytes says what is known of the bytes of an entry's file. A file that is written again
// within one grain of its file system's clock keeps its version: its size, mtime, ctime
// and inode. So a version alone proves its bytes only if its ctime was older than a
// grain when it was noted.
type Bytes byte

// The values of Bytes. They stand on disk.
const (
	Plain    Bytes = iota // the version proves the bytes; no outcome told their hash
	Young                 // the version does not prove them; no outcome came yet
	Hashed                // it does not; Sum is what a scanner got within the grain
	Unhashed              // it does not; an outcome came without a hash, or two differ
	Proved                // Sum is the hash of this version's bytes
	Afresh                // the file must be journaled again, though its version is the same
)

// Entry is what the index knows about one file: its version, and the place of its line.
type Entry struct {
	Stat  watch.Stat
	At    sample.At
	Bytes Bytes
	Sum   [32]byte // SHA-256; only with Hashed and Proved
}

// Same reports whether two Stats are of one version: watch.Stat.Same, or SameBut where
// the file system makes up its inode numbers.
type Same func(a, b watch.Stat) bool

// Knows reports whether a file with st needs no new line.
func (e Entry) Knows(st watch.Stat, same Same) bool { return e.Bytes != Afresh && same(e.Stat, st) }

// InDoubt reports whether the bytes of the file may differ from those that were pushed.
func (e Entry) InDoubt() bool { return e.Bytes == Young || e.Bytes == Hashed || e.Bytes == Unhashed }

// The lengths of a value. The longer one has Bytes and Sum.
const (
	valueLen = 65
	longLen  = valueLen + 1 + 32
)

func (e Entry) encode() []byte {
	b := make([]byte, 0, longLen)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Stat.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Stat.Mtime.Sec))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Stat.Mtime.Nsec))
	b = binary.BigEndian.AppendUint64(b, e.Stat.Inode)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Stat.Ctime.Sec))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Stat.Ctime.Nsec))
	b = binary.BigEndian.AppendUint64(b, e.Stat.Dev)
	lane := byte(0)
	if e.At.Lane == journal.Backlog {
		lane = 1
	}
	b = append(b, lane)
	b = binary.BigEndian.AppendUint64(b, e.At.Segment)
	b = binary.BigEndian.AppendUint64(b, uint64(e.At.Offset))
	if e.Bytes == Plain {
		return b
	}
	return append(append(b, byte(e.Bytes)), e.Sum[:]...)
}

func decodeEntry(b []byte) (Entry, bool) {
	if len(b) != valueLen && len(b) != longLen {
		return Entry{}, false
	}
	be := binary.BigEndian
	e := Entry{
		Stat: watch.Stat{
			Size:  int64(be.Uint64(b)),
			Mtime: watch.Time{Sec: int64(be.Uint64(b[8:])), Nsec: int32(be.Uint32(b[16:]))},
			Inode: be.Uint64(b[20:]),
			Ctime: watch.Time{Sec: int64(be.Uint64(b[28:])), Nsec: int32(be.Uint32(b[36:]))},
			Dev:   be.Uint64(b[40:]),
		},
		At: sample.At{Lane: journal.Live, Pos: journal.Pos{Segment: be.Uint64(b[49:]), Offset: int64(be.Uint64(b[57:]))}},
	}
	if b[48] == 1 {
		e.At.Lane = journal.Backlog
	}
	if len(b) == longLen {
		e.Bytes = Bytes(b[valueLen])
		copy(e.Sum[:], b[valueLen+1:])
	}
	return e, e.Bytes <= Afresh
}
