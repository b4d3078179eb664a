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
// one. Neither it nor leave waits while another file system's trees are told, for the disk
// that is asked for a path then may hang.
func (e *Ears) join(f *os.File, l *listener) (*ear, error) {
	st, err := Fstat(f)
	if err != nil {
		return nil, err
	}
	x, stale, err := e.of(st.Dev, f)
	if stale != nil {
		stale.tell(errDeaf)
	}
	if err != nil {
		return nil, err
	}
	x.add(l)
	return x, nil
}

// of returns the ear of the file system dev, for one listener more. If it has none of
// opens one by the folder f. stale is one that has ended: its listeners are to be told.
func (e *Ears) of(dev uint64, f *os.File) (x, stale *ear, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return nil, nil, errDeaf
	}
	x = e.all[dev]
	if x != nil && !x.alive() {
		delete(e.all, dev)
		x.file.Close()
		x, stale = nil, x
	}
	if x == nil {
		file, err := openEar(f)
		if err != nil {
			return nil, stale, err
		}
		x = newEar(file, dev, false, e.most)
		e.all[dev] = x
		e.launch(x)
	}
	x.listening.Add(1)
	return x, stale, nil
}

// leave takes all listeners of s away from the ear x. One to which nobody listens is
// closed, unless we could not open it again.
func (e *Ears) leave(x *ear, s *fanotify) {
	x.remove(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	if x.listening.Load() == 0 && !x.handed {
		if e.all[x.dev] == x {
			delete(e.all, x.dev)
		}
		x.file.Close()
	}
}
