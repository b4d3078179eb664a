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

// What the engine windows reads: a chain of FILE_NOTIFY_INFORMATION, numbers in
// little endian. Four should divide each offset; Wine's it does not.
//
//	offset  size  field
//	     0     4  NextEntryOffset: from this entry to the next; 0 in the last
//	     4     4  Action
//	     8     4  FileNameLength, in bytes
//	    12     n  FileName: UTF-16, from the tree down, no NUL at the end
const entryHead = 12

// The actions. One that is unknown is a hint like any other.
const (
	actionAdded   = 1
	actionRemoved = 2
	actionOldName = 4
	actionNewName = 5
)

// enumDir is ERROR_NOTIFY_ENUM_DIR: more happened than the system could keep.
const enumDir = syscall.Errno(1022)

var (
	// errDeaf means that a source tells no more events, and has to be made anew.
	errDeaf      = errors.New("the system tells no more events of the tree")
	errMalformed = errors.New("what the system tells of events is malformed")
)

// digest turns a read that has come back into hints: n bytes in buf, or the read's
// error. Its own error is fsnotify.ErrEventOverflow or errMalformed when events
// were lost and reading can go on, and errDeaf when it cannot.
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

// changes tells each entry of buf. It comes from the system, but what is in it may
// be a file server's: whatever it holds, the walk ends, stays in buf, and names
// nothing outside the tree.
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
		// Forward only, and past what was read: a chain that loops has an end.
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

// narrow turns UTF-16 into the bytes that Go has for it. Half of a pair, which a
// name may hold, becomes three bytes of its own (WTF-8), as everywhere in Go.
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

// below reports whether name is a clean path of elements divided by backslashes, and the
// stream of no file.
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

// hint makes an event of the tree at root out of a change.
func hint(root string, op fsnotify.Op, name string) fsnotify.Event {
	return fsnotify.Event{Name: join(root, strings.ReplaceAll(name, `\`, string(filepath.Separator))), Op: op}
}
