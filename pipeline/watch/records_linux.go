// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// A read of inotify gives whole records, one behind the other, with numbers in the order
// of the machine:
//
//	offset  size  field
//	     0     4  number of the watch; -1 in the record of an overflow
//	     4     4  mask: what happened
//	     8     4  cookie: the same in the two records of a rename
//	    12     4  size of the name
//	    16     n  name, filled up with NUL; none if the directory itself is meant
const recordHead = unix.SizeofInotifyEvent

// record is one of them.
type record struct {
	number       int32
	mask, cookie uint32
	name         string
}

// records calls tell for each record of buf. They are the kernel's, and still with any
// content records ends, reads only in buf, and tells no name that leads elsewhere: a
// record that cannot be is errMalformed, and what follows is lost.
func records(buf []byte, tell func(record)) error {
	for at := 0; at < len(buf); {
		rest := buf[at:]
		if len(rest) < recordHead {
			return fmt.Errorf("%w: a record at %d of %d bytes", errMalformed, at, len(buf))
		}
		r := record{number: int32(binary.NativeEndian.Uint32(rest)), mask: binary.NativeEndian.Uint32(rest[4:]), cookie: binary.NativeEndian.Uint32(rest[8:])}
		size := binary.NativeEndian.Uint32(rest[12:])
		if uint64(size) > uint64(len(rest)-recordHead) {
			return fmt.Errorf("%w: a name of %d bytes at %d of %d", errMalformed, size, at, len(buf))
		}
		r.name = string(bytes.TrimRight(rest[recordHead:recordHead+size], "\x00"))
		if strings.ContainsAny(r.name, "/\x00") || r.name == "." || r.name == ".." {
			return fmt.Errorf("%w: %q is no name", errMalformed, r.name)
		}
		tell(r)
		at += recordHead + int(size)
	}
	return nil
}
