// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/fsnotify/fsnotify"
)

// The engine windows reads a chain of FILE_NOTIFY_INFORMATION, with numbers in little
// endian. Each offset should be a multiple of four; under Wine it may be another.
//
//	offset  size  field
//	     0     4  NextEntryOffset: from this entry to the next; 0 in the last
//	     4     4  Action
//	     8     4  FileNameLength, in bytes
//	    12     n  FileName: UTF-16, relative to the tree, without a NUL at the end
const entryHead = 12

// The actions. An unknown one counts as a write.
const (
	actionAdded   = 1
	actionRemoved = 2
	actionOldName = 4
	actionNewName = 5
)

// enumDir is ERROR_NOTIFY_ENUM_DIR: the system dropped events, because there were too
// many.
const enumDir = syscall.Errno(1022)

var (
	// errDeaf means that a source sends no more events, and must be made anew.
	errDeaf      = errors.New("the system tells no more events of the tree")
	errMalformed = errors.New("what the system tells of events is malformed")
)

// digest calls tell for each event of a finished read, which has n bytes in buf, or
// failed with err. Its own error is fsnotify.ErrEventOverflow or errMalformed if events
// were lost and reading can go on, and errDeaf if reading cannot go on.
func digest(buf []byte, n uint32, err error, tell func(fsnotify.Op, string)) error {
	switch {
	case errors.Is(err, enumDir), err == nil && n == 0:
		return fsnotify.ErrEventOverflow
	case err != nil:
		return fmt.Errorf("%w: %w", errDeaf, err)
	case uint64(n) > uint64(len(buf)):
		return fmt.Errorf("%w: %d bytes in a buffer of %d", errMalformed, n, len(buf))
	}
	return changes(buf[:n], tell)
}

// changes calls tell for each entry of buf. The bytes may come from a file server, which
// is not trusted: with any content changes ends, reads only in buf, and names only paths
// in the tree.
func changes(buf []byte, tell func(fsnotify.Op, string)) error {
	for at := 0; ; {
		rest := buf[at:]
		if len(rest) < entryHead {
			return fmt.Errorf("%w: an entry at %d of %d bytes", errMalformed, at, len(buf))
		}
		next := binary.LittleEndian.Uint32(rest)
		size := binary.LittleEndian.Uint32(rest[8:])
		if size == 0 || size%2 != 0 || uint64(size) > uint64(len(rest)-entryHead) {
			return fmt.Errorf("%w: a name of %d bytes at %d of %d", errMalformed, size, at, len(buf))
		}
		name := narrow(rest[entryHead : entryHead+size])
		if !below(name) {
			return fmt.Errorf("%w: %q is not below the tree", errMalformed, name)
		}
		tell(operation(binary.LittleEndian.Uint32(rest[4:])), name)
		if next == 0 {
			return nil
		}
		// The next entry must lie behind this one, so a chain cannot loop.
		if uint64(next) < uint64(entryHead)+uint64(size) || uint64(next) >= uint64(len(rest)) {
			return fmt.Errorf("%w: the entry after %d is %d further, of %d bytes", errMalformed, at, next, len(buf))
		}
		at += int(next)
	}
}

func operation(action uint32) fsnotify.Op {
	switch action {
	case actionAdded, actionNewName:
		return fsnotify.Create
	case actionRemoved:
		return fsnotify.Remove
	case actionOldName:
		return fsnotify.Rename
	}
	return fsnotify.Write
}

// narrow converts UTF-16 to UTF-8, as Go does for names of files: half of a surrogate
// pair, which a name may have, becomes three bytes (WTF-8).
func narrow(wide []byte) string {
	var b []byte
	for i := 0; i+1 < len(wide); i += 2 {
		r := rune(binary.LittleEndian.Uint16(wide[i:]))
		if utf16.IsSurrogate(r) && i+3 < len(wide) {
			if whole := utf16.DecodeRune(r, rune(binary.LittleEndian.Uint16(wide[i+2:]))); whole != utf8.RuneError {
				b = utf8.AppendRune(b, whole)
				i += 2
				continue
			}
		}
		if utf16.IsSurrogate(r) {
			b = append(b, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0xbf, 0x80|byte(r)&0xbf)
			continue
		}
		b = utf8.AppendRune(b, r)
	}
	return string(b)
}

// below reports whether name is a clean relative path with backslashes, without "..", and
// does not name a stream of a file.
func below(name string) bool {
	if strings.ContainsAny(name, "/:\x00") {
		return false
	}
	for e := range strings.SplitSeq(name, `\`) {
		if e == "" || e == "." || e == ".." {
			return false
		}
	}
	return true
}

// hint returns a change of name as an event of the tree at root.
func hint(root string, op fsnotify.Op, name string) fsnotify.Event {
	return fsnotify.Event{Name: join(root, strings.ReplaceAll(name, `\`, string(filepath.Separator))), Op: op}
}
