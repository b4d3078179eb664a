// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// errNoEar means that a file system is not heard, and that we have not the right to begin.
var errNoEar = errors.New("to hear a whole file system takes CAP_SYS_ADMIN, and nobody who has it left us an ear")

// Ears are the ears of a process, one for each file system, for all trees on it. They
// outlive a Watcher: an ear that was handed over by somebody with more rights is the only
// one that we get, and must be emptied also while no tree listens.
type Ears struct {
	most int // bytes that may wait in each ear

	mu    sync.Mutex // guards the fields below
	all   map[uint64]*ear
	runs  bool
	ended bool
	work  sync.WaitGroup
}

// NewEars returns Ears that do not hear yet. handed holds what OpenEar returned to
// somebody with more rights, by the device of its file system.
func NewEars(handed map[uint64]*os.File) *Ears {
	e := &Ears{most: earMost, all: map[uint64]*ear{}}
	for dev, f := range handed {
		e.all[dev] = newEar(f, dev, true, e.most)
	}
	return e
}

// TryEar returns nil if we can hear the file system of the folder at path as a whole.
// Otherwise the error says why not, and what to do.
func TryEar(path string) error {
	fd, err := openDoor(path)
	if err != nil {
		return fmt.Errorf("open folder %s: %w", path, err)
	}
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	_, _, err = handled(fd)
	if err == nil {
		var f *os.File
		if f, err = openEar(dir); err == nil {
			return f.Close()
		}
	}
	return fmt.Errorf("%w: %s", err, fanotifyNext(err))
}

// openEar is OpenEar with errNoEar where we have not the right.
func openEar(dir *os.File) (*os.File, error) {
	f, err := OpenEar(dir)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("%w: %w", errNoEar, err)
	}
	return f, err
}

// Run hears until ctx ends. Call it once.
func (e *Ears) Run(ctx context.Context) {
	e.mu.Lock()
	e.runs = true
	for _, x := range e.all {
		e.launch(x)
	}
	e.mu.Unlock()
	<-ctx.Done()
	e.mu.Lock()
	e.ended = true
	for _, x := range e.all {
		x.file.Close() // its reader ends; nothing was written
	}
	e.mu.Unlock()
	e.work.Wait()
}

// launch starts the goroutines of an ear. The caller holds mu.
func (e *Ears) launch(x *ear) {
	if !e.runs || e.ended {
		return
	}
	e.work.Go(x.drain)
	e.work.Go(x.work)
}

// join makes l hear the file system on which the folder f lies. If it has no ear join opens
// one.
func (e *Ears) join(f *os.File, l *listener) error {
	st, err := Fstat(f)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return errDeaf
	}
	x := e.all[st.Dev]
	if x != nil && !x.alive() {
		delete(e.all, st.Dev)
		x.file.Close()
		x.tell(errDeaf)
		x = nil
	}
	if x == nil {
		file, err := openEar(f)
		if err != nil {
			return err
		}
		x = newEar(file, st.Dev, false, e.most)
		e.all[st.Dev] = x
		e.launch(x)
	}
	x.add(l)
	return nil
}

// leave takes all listeners of s away. An ear to which nobody listens is closed, unless we
// could not open it again.
func (e *Ears) leave(s *fanotify) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for dev, x := range e.all {
		if !x.remove(s) && !x.handed {
			delete(e.all, dev)
			x.file.Close()
		}
	}
}

// deaf reports whether an ear to which s listens hears nothing any more.
func (e *Ears) deaf(s *fanotify) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.all {
		if x.has(s) && !x.alive() {
			return true
		}
	}
	return false
}
