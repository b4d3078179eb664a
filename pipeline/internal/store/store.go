// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Store is a Pebble whose disk may refuse and whose files may be damaged without
// the process ending.
type Store struct {
	DB   *pebble.DB
	disk *patient
	hurt *damaged
	log  *slog.Logger

	writes sync.WaitGroup // those that run, also those that nobody waits for any more
}

// errHeld says that somebody holds a store: this very process, since the disk
// refused it. That is no damage.
var ErrHeld = errors.New("it is still held since the disk refused it: make room on the disk, or mend it, and where it was mounted anew start certpush again")

func Open(ctx context.Context, d Disk, dir string, log *slog.Logger, readOnly bool) (*Store, error) {
	// Pebble says of a folder that is held, and of one that is damaged, in no way
	// that can be told apart.
	if _, err := d.Pebble.Stat(filepath.Join(dir, "LOCK")); err == nil {
		lock, err := d.Pebble.Lock(filepath.Join(dir, "LOCK"))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHeld, err)
		}
		if err := lock.Close(); err != nil {
			return nil, fmt.Errorf("try store's lock: %w", err)
		}
	}
	s := &Store{disk: &patient{FS: d.Pebble, log: log}, hurt: &damaged{log: log, found: make(chan struct{})}, log: log}
	err := s.Do(s.disk.unlessStalled(ctx), func() (err error) {
		// Less than Pebble's own: it lies on Go's heap, which may grow by as much again
		// before it is collected. What the cache misses the system's holds.
		s.DB, err = pebble.Open(dir, &pebble.Options{FS: s.disk, Logger: s.hurt, MaxOpenFiles: 256, MemTableSize: 2 << 20, CacheSize: 2 << 20, ReadOnly: readOnly})
		return err
	})
	if err != nil && !s.hurt.is() {
		go s.release() // it may come to be open yet, when nobody waits for it any more
	}
	return s, err
}

// release closes the store when all that was begun has ended.
func (s *Store) release() {
	s.writes.Wait()
	if s.DB == nil {
		return
	}
	if err := s.DB.Close(); err != nil {
		s.log.Warn("close store", "error", err)
	}
}

// letGo is how long a write may still take when nobody wants it any more.
const letGo = 2 * time.Second

// Do runs f, which writes, and waits for it. While the disk refuses f does not
// return, so some time after ctx has ended it is left to itself; and in one
// that is damaged it never does.
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

// Shut closes the store. One that is damaged is left as it is; one whose disk
// refuses is let go of when it no longer does.
func (s *Store) Shut() error {
	if s.hurt.is() {
		return nil // said already
	}
	if why := s.disk.stalled(); why != nil {
		go s.release()
		return fmt.Errorf("close store: make room on its disk, or mend it: %w", why)
	}
	// It may be the first that the disk refuses: a stop does not wait for that.
	return s.Do(s.disk.unlessStalled(context.Background()), s.DB.Close)
}

// damaged is Pebble's logger. It drops the chatter, and where Pebble would end
// the process it holds the one goroutine that found the damage: the store is left to
// itself then.
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
		close(d.found)
	})
	select {}
}

// Stalled returns why the disk keeps the store from writing now, nil when it does not.
func (s *Store) Stalled() error { return s.disk.stalled() }

// Found is closed once Pebble reported damage.
func (s *Store) Found() <-chan struct{} { return s.hurt.found }

// Damage returns what Pebble reported, nil while it reported none.
func (s *Store) Damage() error {
	if s.hurt.is() {
		return s.hurt.err
	}
	return nil
}

func (d *damaged) is() bool {
	select {
	case <-d.found:
		return true
	default:
		return false
	}
}
