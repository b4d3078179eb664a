// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// A read of a fanotify group that reports folders and names gives whole events, one behind
// the other, with numbers in the order of the machine:
//
//	offset  size  field
//	     0     4  length of the event
//	     4     1  version: 3
//	     6     2  length of this head: 24
//	     8     8  mask: what happened, perhaps several things
//	    16     8  descriptor (none) and process
//	    24        information, each with its own head:
//	                   0  1  type
//	                   2  2  length
//	                   4  8  number of the file system
//	                  12  4  size of the handle, then its type (4), its bytes, and the name up to a NUL
const (
	eventHead = 24
	infoHead  = 4
	handleAt  = infoHead + 8
	handleTop = 8 // size and type
)

// earEvent is one event: what happened to a name in a folder. Its bytes are those of the read.
type earEvent struct {
	mask   uint64
	handle []byte // of the folder: size, type and bytes; nil if events were lost
	name   []byte // "." is the folder itself
}

// earEvents calls tell for each event of buf. They are the kernel's, and still with any content
// earEvents ends, reads only in buf, and tells no name that leads elsewhere: an event that
// cannot be is errMalformed, and what follows is lost.
func earEvents(buf []byte, tell func(earEvent)) error {
	for at := 0; at < len(buf); {
		rest := buf[at:]
		if len(rest) < eventHead {
			return fmt.Errorf("%w: an event at %d of %d bytes", errMalformed, at, len(buf))
		}
		size, head := binary.NativeEndian.Uint32(rest), binary.NativeEndian.Uint16(rest[6:])
		if rest[4] != unix.FANOTIFY_METADATA_VERSION || head < eventHead || uint32(head) > size || uint64(size) > uint64(len(rest)) {
			return fmt.Errorf("%w: an event of %d bytes, version %d, at %d of %d", errMalformed, size, rest[4], at, len(buf))
		}
		h := earEvent{mask: binary.NativeEndian.Uint64(rest[8:])}
		if err := h.inform(rest[head:size]); err != nil {
			return err
		}
		if h.handle == nil && h.mask&unix.FAN_Q_OVERFLOW == 0 {
			return fmt.Errorf("%w: an event without a folder at %d of %d bytes", errMalformed, at, len(buf))
		}
		tell(h)
		at += int(size)
	}
	return nil
}

// inform takes the folder and the name out of the information of an event.
func (h *earEvent) inform(info []byte) error {
	for len(info) > 0 {
		if len(info) < infoHead {
			return fmt.Errorf("%w: information of %d bytes", errMalformed, len(info))
		}
		size := int(binary.NativeEndian.Uint16(info[2:]))
		if size < infoHead || size > len(info) {
			return fmt.Errorf("%w: information of %d bytes in %d", errMalformed, size, len(info))
		}
		if kind := info[0]; kind == unix.FAN_EVENT_INFO_TYPE_DFID_NAME || kind == unix.FAN_EVENT_INFO_TYPE_DFID {
			if err := h.locate(info[:size]); err != nil {
				return err
			}
		}
		info = info[size:]
	}
	return nil
}

// locate takes one piece of information that holds a folder and a name.
func (h *earEvent) locate(info []byte) error {
	if len(info) < handleAt+handleTop {
		return fmt.Errorf("%w: a folder in %d bytes", errMalformed, len(info))
	}
	rest := info[handleAt:]
	size := binary.NativeEndian.Uint32(rest)
	if uint64(size) > uint64(len(rest)-handleTop) {
		return fmt.Errorf("%w: a handle of %d bytes in %d", errMalformed, size, len(rest))
	}
	h.handle = rest[:handleTop+size]
	h.name, _, _ = bytes.Cut(rest[handleTop+size:], []byte{0})
	if len(h.name) == 0 {
		h.name = []byte(".")
	}
	if bytes.IndexByte(h.name, '/') >= 0 || string(h.name) == ".." {
		return fmt.Errorf("%w: %q is no name", errMalformed, h.name)
	}
	return nil
}

// op returns what an event says of the path that it names. The kernel puts what happens to
// one name while it waits into one event, in no order: where something may have come, the
// path is looked at.
func (h *earEvent) op() fsnotify.Op {
	const came, went = unix.FAN_CREATE | unix.FAN_MOVED_TO, unix.FAN_DELETE | unix.FAN_MOVED_FROM
	if h.mask&unix.FAN_ONDIR != 0 {
		switch {
		case h.mask&came != 0:
			return fsnotify.Create | ofFolder
		case h.mask&went != 0:
			return fsnotify.Rename | ofFolder
		}
		return fsnotify.Chmod | ofFolder
	}
	switch {
	case h.mask&unix.FAN_CLOSE_WRITE != 0:
		return fsnotify.Write | closed
	case h.mask&unix.FAN_MOVED_TO != 0:
		return fsnotify.Create
	case h.mask&unix.FAN_CREATE != 0:
		return fsnotify.Create | opened // or another name of a file that was there: the question tells
	case h.mask&unix.FAN_ATTRIB != 0:
		return fsnotify.Chmod
	}
	return fsnotify.Rename
}

// movesFolder reports whether a folder has another path now, and with it all below it.
func (h *earEvent) movesFolder() bool {
	return h.mask&unix.FAN_ONDIR != 0 && h.mask&(unix.FAN_MOVED_FROM|unix.FAN_MOVED_TO) != 0
}
