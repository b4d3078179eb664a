// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// earMask lists what an ear hears. Writes are left out: a close tells of them, and each
// event of the whole file system costs.
const earMask = unix.FAN_CLOSE_WRITE | unix.FAN_CREATE | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO |
	unix.FAN_DELETE | unix.FAN_ATTRIB | unix.FAN_ONDIR

// OpenEar returns a fanotify group that hears the whole file system on which the folder
// dir lies. It needs CAP_SYS_ADMIN. The kernel's queue has no bound, so somebody must read
// it as long as it is open.
func OpenEar(dir *os.File) (*os.File, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_DFID_NAME|unix.FAN_UNLIMITED_QUEUE|
		unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_LARGEFILE)
	if err != nil {
		return nil, fmt.Errorf("open fanotify: %w", err)
	}
	f := os.NewFile(uintptr(fd), "fanotify")
	raw, err := dir.SyscallConn()
	if err == nil {
		failed := raw.Control(func(at uintptr) {
			err = unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, earMask, int(at), ".")
		})
		err = errors.Join(failed, err)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("mark file system of %s: %w", dir.Name(), err)
	}
	return f, nil
}

// ear hears one file system. Its reader does nothing but empty the kernel's queue, which
// has no bound, into one that has. Its worker finds the paths, for which it asks the
// disk, and tells the listeners.
type ear struct {
	dev    uint64
	file   *os.File
	handed bool // we could not open another one, so it stays when nobody listens
	most   int
	some   chan struct{} // wakes the worker

	listening atomic.Int32 // how many listeners there are, or will be at once; without any nothing is kept

	mu     sync.Mutex // guards the fields below
	queue  [][]byte   // events as they were read; nil where some were dropped
	size   int        // bytes in it
	missed bool       // a nil is in it
	ended  bool       // nothing more comes

	telling sync.Mutex // guards views, and is held while listeners are told
	views   map[int]*view
}

func newEar(file *os.File, dev uint64, handed bool, most int) *ear {
	return &ear{dev: dev, file: file, handed: handed, most: most, some: make(chan struct{}, 1), views: map[int]*view{}}
}

// alive reports whether it is read, and the mark is still there: an unmount takes that away
// without an event.
func (x *ear) alive() bool {
	x.mu.Lock()
	ended := x.ended
	x.mu.Unlock()
	if ended {
		return false
	}
	raw, err := x.file.SyscallConn()
	if err != nil {
		return false
	}
	alive := true
	err = raw.Control(func(fd uintptr) {
		text, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(int(fd)))
		alive = err != nil || strings.Contains(string(text), "fanotify sdev:")
	})
	return err == nil && alive
}

// drain is the reader. It ends when the ear is closed or the system tells no more.
func (x *ear) drain() {
	buf := make([]byte, 256<<10)
	for {
		n, err := x.file.Read(buf)
		if err == nil {
			x.put(buf[:n])
			continue
		}
		x.mu.Lock()
		x.ended = true
		x.mu.Unlock()
		nudge(x.some)
		if !errors.Is(err, fs.ErrClosed) {
			x.tell(fmt.Errorf("%w: %w", errDeaf, err))
		}
		return
	}
}

// joined is how many bytes of events are kept in one piece: the reader is quick, so most
// reads bring one event, and a piece for each would take twice its bytes.
const joined = 256 << 10

// put keeps events for the worker. What is too much is dropped, and a nil says where.
func (x *ear) put(events []byte) {
	if x.listening.Load() == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.size+len(events) <= x.most:
		x.size += len(events)
		if last := len(x.queue) - 1; last >= 0 && x.queue[last] != nil && len(x.queue[last])+len(events) <= joined {
			x.queue[last] = append(x.queue[last], events...)
			break
		}
		x.queue = append(x.queue, append([]byte(nil), events...))
	case !x.missed:
		x.queue, x.missed = append(x.queue, nil), true
	}
	nudge(x.some)
}

// work is the worker. It ends after the reader.
func (x *ear) work() {
	for {
		events, some, ended := x.next()
		switch {
		case some && events == nil:
			x.forget() // a rename of a folder may be among what was dropped
			x.tell(errCrowded)
		case some:
			x.hear(events)
		case ended:
			return
		default:
			<-x.some
		}
	}
}

// next takes the oldest events out of the queue.
func (x *ear) next() (events []byte, some, ended bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.queue) == 0 {
		x.queue = nil
		return nil, false, x.ended
	}
	events = x.queue[0]
	x.queue[0] = nil
	x.queue = x.queue[1:]
	x.size -= len(events)
	x.missed = x.missed && events != nil
	return events, true, false
}

// hear tells the listeners of events.
func (x *ear) hear(events []byte) {
	x.telling.Lock()
	defer x.telling.Unlock()
	var lost error
	err := earEvents(events, func(h earEvent) {
		if h.handle == nil {
			lost = fmt.Errorf("%w: the kernel has no memory for an event", errUnplaced) // its queue has no bound
			return
		}
		if h.movesFolder() {
			x.clear()
		}
		for _, v := range x.views {
			if err := v.tell(h); err != nil {
				lost = fmt.Errorf("%w: %w", errUnplaced, err)
			}
		}
	})
	if err != nil {
		lost = err
	}
	if lost != nil {
		x.clear()
		x.trouble(lost)
	}
}

// forget clears what is remembered of folders.
func (x *ear) forget() {
	x.telling.Lock()
	defer x.telling.Unlock()
	x.clear()
}

// clear is forget for a caller that holds telling.
func (x *ear) clear() {
	for _, v := range x.views {
		v.forget()
	}
}

// tell gives all listeners an error.
func (x *ear) tell(err error) {
	x.telling.Lock()
	defer x.telling.Unlock()
	x.trouble(err)
}

// trouble is tell for a caller that holds telling.
func (x *ear) trouble(err error) {
	told := map[*fanotify]bool{}
	for _, v := range x.views {
		for _, l := range v.listeners {
			if !told[l.source] {
				told[l.source] = true
				l.source.trouble(err)
			}
		}
	}
}

// add adds a listener, which is counted already: see Ears.of.
func (x *ear) add(l *listener) {
	x.telling.Lock()
	defer x.telling.Unlock()
	v := x.views[l.mount]
	if v == nil {
		v = &view{known: map[string]where{}}
		x.views[l.mount] = v
	}
	v.forget() // what is in no other tree may be in this one
	v.listeners = append(v.listeners, l)
}

// remove takes the listeners of s away.
func (x *ear) remove(s *fanotify) {
	x.telling.Lock()
	defer x.telling.Unlock()
	for mount, v := range x.views {
		was := len(v.listeners)
		v.drop(s)
		x.listening.Add(int32(len(v.listeners) - was))
		if len(v.listeners) == 0 {
			delete(x.views, mount)
		}
	}
}
