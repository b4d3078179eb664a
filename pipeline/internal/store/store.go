// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Store is a Pebble. If its disk refuses it waits; if its files are damaged it is left
// alone. Neither ends the process.
type Store struct {
	DB   *pebble.DB
	disk *patient
	hurt *damaged
	log  *slog.Logger

	writes sync.WaitGroup // writes that run, even if their callers no longer wait
}

// ErrHeld is the error of Open if the store is held. This very process holds it, since
// its disk refused it. That is not damage.
var ErrHeld = errors.New("it is still held since the disk refused it: make room on the disk, or mend it, and where it was mounted anew start certpush again")

// Open opens the store in dir, or makes an empty one. The error wraps ErrHeld if it is
// held; Hinders reports whether something keeps us from it that is no damage. Any other
// error, but for that of ctx, says that the store cannot be used.
func Open(ctx context.Context, d Disk, dir string, log *slog.Logger, readOnly bool) (*Store, error) {
	// Pebble's errors do not tell a store that is held from one that is damaged. So we
	// try the lock first.
	if d.Pebble == vfs.Default {
		// Pebble would follow a link in place of its lock, and empty what it leads to.
		if st, err := os.Lstat(filepath.Join(dir, "LOCK")); err == nil && !st.Mode().IsRegular() {
			return nil, fmt.Errorf("lock store: %s is not a regular file: move it away", filepath.Join(dir, "LOCK"))
		}
	}
	if _, err := d.Pebble.Stat(filepath.Join(dir, "LOCK")); err == nil {
		lock, err := d.Pebble.Lock(filepath.Join(dir, "LOCK"))
		if Exhausted(err) {
			return nil, fmt.Errorf("try store's lock: %w", err)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHeld, err)
		}
		if err := lock.Close(); err != nil {
			return nil, fmt.Errorf("try store's lock: %w", err)
		}
	}
	s := &Store{disk: &patient{FS: d.Pebble, log: log}, hurt: &damaged{log: log, found: make(chan struct{})}, log: log}
	err := s.Do(s.disk.unlessStalled(ctx), func() (err error) {
		// The cache and the memtable are smaller than Pebble's defaults, because they
		// count as Go's heap, which may grow to twice their size before it is
		// collected. The system caches the files anyway.
		s.DB, err = pebble.Open(dir, &pebble.Options{FS: s.disk, Logger: s.hurt, MaxOpenFiles: 256, MemTableSize: 2 << 20, CacheSize: 2 << 20, ReadOnly: readOnly})
		return err
	})
	if err != nil && !s.hurt.is() {
		go s.release() // the open may still succeed when its caller no longer waits
	}
	return s, err
}

// release waits until all writes have ended, and closes the store.
func (s *Store) release() {
	s.writes.Wait()
	if s.DB == nil {
		return
	}
	if err := s.DB.Close(); err != nil {
		s.log.Warn("close store", "error", err)
	}
}

// letGo is how long Do waits for a write after its context has ended.
const letGo = 2 * time.Second

// Do runs f, which writes, and returns its error. While the disk refuses, f does not
// return. So if ctx ends, Do waits for letGo and then returns ctx's cause, while f goes
// on. If the store is damaged, f may never return: Do returns the damage.
func (s *Store) Do(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	s.writes.Go(func() { done <- f() })
	select {
	case err := <-done:
		return err
	case <-s.hurt.found:
		return s.hurt.err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-s.hurt.found:
		return s.hurt.err
	case <-time.After(letGo):
		return fmt.Errorf("write: %w", context.Cause(ctx))
	}
}

// Shut closes the store. If it is damaged Shut leaves it as it is. If its disk refuses,
// Shut returns an error, and the store is closed when the disk no longer refuses.
func (s *Store) Shut() error {
	if s.hurt.is() {
		return nil // Found told it
	}
	if why := s.disk.stalled(); why != nil {
		go s.release()
		return fmt.Errorf("close store: make room on its disk, or mend it: %w", why)
	}
	// Closing may be the first operation that the disk refuses. A stop does not wait
	// for that.
	return s.Do(s.disk.unlessStalled(context.Background()), s.DB.Close)
}

// damaged is the logger of Pebble. It drops the messages of Infof. Pebble calls Fatalf
// where it would end the process: Fatalf stops that one goroutine for ever instead, and
// the store is left alone.
type damaged struct {
	log   *slog.Logger
	once  sync.Once
	found chan struct{} // closed when err is set
	err   error
}

// Infof implements pebble.Logger.
func (*damaged) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (d *damaged) Errorf(format string, a ...any) {
	d.log.Error("a store reports an error: look at its disk", "error", fmt.Sprintf(format, a...))
}

// Fatalf implements pebble.Logger. It does not return.
func (d *damaged) Fatalf(format string, a ...any) {
	d.once.Do(func() {
		d.err = fmt.Errorf("it is damaged: "+format, a...)
		for _, arg := range a {
			if err, is := arg.(error); is && !Refuses(err) && Hinders(err) {
				d.err = fmt.Errorf("it has stopped: %w", err) // want of descriptors, memory or rights is no damage
			}
		}
		close(d.found)
	})
	select {}
}

// Stalled returns why the disk refuses a write of the store now, or nil if it does not.
func (s *Store) Stalled() error { return s.disk.stalled() }

// Found returns a channel that is closed when Pebble reports damage.
func (s *Store) Found() <-chan struct{} { return s.hurt.found }

// Damage returns the damage that Pebble reported, or nil.
func (s *Store) Damage() error {
	if s.hurt.is() {
		return s.hurt.err
	}
	return nil
}

// is reports whether Pebble reported damage.
func (d *damaged) is() bool {
	select {
	case <-d.found:
		return true
	default:
		return false
	}
}
