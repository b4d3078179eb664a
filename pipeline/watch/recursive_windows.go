// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/windows"
)

// told lists the changes that raise an event. A new file changes a name. Its writer
// changes size and time, the last time at the close.
const told = windows.FILE_NOTIFY_CHANGE_FILE_NAME | windows.FILE_NOTIFY_CHANGE_DIR_NAME |
	windows.FILE_NOTIFY_CHANGE_SIZE | windows.FILE_NOTIFY_CHANGE_LAST_WRITE

// recursive is the source of the engine windows: one handle that reports events of a
// folder and all below it. (A handle for each folder would cost 128 KiB each, and keep
// every folder above it from being renamed.)
//
// Two reads are in flight, so that one waits while the other is worked off. Their buffers
// belong to the system until the reads come back, so pump returns only then.
type recursive struct {
	root         string
	folder, port windows.Handle
	reads        [2]*flight
	pins         runtime.Pinner

	mu     sync.Mutex // guards the fields below
	flying int        // how many reads the system has
	closed bool       // no further read begins
}

// flight is one read. A network path takes at most 64 KiB. The address of the buffer must
// be a multiple of four.
type flight struct {
	overlapped windows.Overlapped // must be first: the system returns its address as that of the flight
	buffer     [64 << 10 / 4]uint32
}

func (f *flight) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&f.buffer)), int(unsafe.Sizeof(f.buffer)))
}

// newRecursive watches the folder root. If it is not the folder at, the error is
// errMoved. After it returned, each change below root raises an event.
func newRecursive(root string, at place) (source, error) {
	h, err := openHandle(root, windows.FILE_LIST_DIRECTORY, shareAll,
		windows.FILE_FLAG_BACKUP_SEMANTICS|windows.FILE_FLAG_OVERLAPPED)
	if err != nil {
		return nil, fmt.Errorf("watch folder: %w", err)
	}
	st, err := statHandle(h)
	if err == nil && st.place() != at {
		err = errMoved
	}
	if err != nil {
		windows.CloseHandle(h)
		return nil, fmt.Errorf("watch folder: %w", err)
	}
	r := &recursive{root: root, folder: h}
	if r.port, err = windows.CreateIoCompletionPort(h, 0, 0, 1); err != nil {
		windows.CloseHandle(h)
		return nil, fmt.Errorf("watch folder: make completion port: %w", err)
	}
	for i := range r.reads {
		r.reads[i] = &flight{}
		r.pins.Pin(r.reads[i])
		if err := r.issue(r.reads[i]); err != nil {
			err = errors.Join(err, r.Close())
			r.pump(func(fsnotify.Event) {}, func(error) {}) // waits for the first read
			return nil, fmt.Errorf("watch folder: %w", err)
		}
	}
	return r, nil
}

// Add implements source. It does nothing: the handle reports each folder.
func (r *recursive) Add(string, *os.File) (int32, error) { return 0, nil }

// Remove implements source. It does nothing.
func (r *recursive) Remove(watching) error { return nil }

// Loses implements source: there are no watches to lose.
func (r *recursive) Loses() bool { return false }

// WatchList implements source.
func (r *recursive) WatchList() []string { return nil }

// Close implements source. It cancels the reads, so that pump ends.
func (r *recursive) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.flying == 0 {
		r.closed = true
		return nil
	}
	r.closed = true
	if err := windows.CancelIoEx(r.folder, nil); err != nil && !errors.Is(err, windows.ERROR_NOT_FOUND) {
		return fmt.Errorf("cancel reads of events: %w", err)
	}
	return nil
}

// issue begins a read, unless the source is closed.
func (r *recursive) issue(f *flight) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	f.overlapped = windows.Overlapped{}
	buf := f.bytes()
	err := windows.ReadDirectoryChanges(r.folder, &buf[0], uint32(len(buf)), true, told, nil, &f.overlapped, 0)
	if err == nil {
		r.flying++
	}
	return err
}

func (r *recursive) pump(event func(fsnotify.Event), trouble func(error)) {
	for r.aloft() {
		var n uint32
		var key uintptr
		var o *windows.Overlapped
		err := windows.GetQueuedCompletionStatus(r.port, &n, &key, &o, windows.INFINITE)
		if o == nil {
			// The port itself is broken. Its reads never come back, so their buffers and
			// the handles stay.
			trouble(fmt.Errorf("%w: %w", errDeaf, err))
			return
		}
		f := (*flight)(unsafe.Pointer(o))
		if r.landed() {
			continue
		}
		lost := digest(f.bytes(), n, err, func(op fsnotify.Op, name string) { event(hint(r.root, op, name)) })
		if !errors.Is(lost, errDeaf) {
			if err := r.issue(f); err != nil {
				lost = errors.Join(fmt.Errorf("%w: %w", errDeaf, err), lost)
			}
		}
		if lost != nil {
			trouble(lost)
		}
		if errors.Is(lost, errDeaf) {
			// The other read may never come back by itself.
			if err := r.Close(); err != nil {
				trouble(err)
			}
		}
	}
	windows.CloseHandle(r.folder)
	windows.CloseHandle(r.port)
	r.pins.Unpin()
}

func (r *recursive) aloft() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flying > 0
}

// landed notes that a read came back, and reports whether the source is closed.
func (r *recursive) landed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flying--
	return r.closed
}
