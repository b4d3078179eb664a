// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"

	"github.com/certpush/certpush/pipeline/internal/look"
	"github.com/certpush/certpush/pipeline/internal/store"
)

// ErrNoState is in the error of what looks things up in a state folder that no
// run has made yet.
var ErrNoState = store.ErrNoState

// ErrVerifying is what Verify returns while another one runs.
var ErrVerifying = errors.New("a verify is running already: wait for it")

// look calls f with the archive. While p runs its files are read as they are;
// else both locks are held meanwhile, so that nobody moves them.
func (p *Pipeline) look(f func(*look.Archive) error) error {
	if p.opening() {
		return errOpening // the locks are its own, also while it waits for the disk
	}
	a, err := look.Open(look.Config{State: p.c.State, Journal: p.c.Journal.Dir, Trees: p.c.Trees, Scanners: p.c.Scanners, Disk: p.c.disk, Log: p.c.Log}, !p.halves().open())
	if err != nil {
		return err
	}
	return errors.Join(f(a), a.Close())
}

// Why tells the story of the sample that key names: an absolute path in any of
// its versions, a SHA-256 in hex, an id, or LANE:SEGMENT:OFFSET. A Story without
// lines and outcomes says that what is kept knows nothing of it; of a long one
// the newest thousand are told.
//
// While p does not run the state folder is locked meanwhile; ErrLocked then says
// that another process runs it, ErrNoState that there is none.
func (p *Pipeline) Why(ctx context.Context, key string) (s Story, err error) {
	err = p.look(func(a *look.Archive) error {
		s, err = a.Why(ctx, key)
		return err
	})
	return s, err
}

// Dead lists the dead letters in the ledger, oldest first: samples whose last
// outcome at a scanner is dead. The errors are those of Why.
func (p *Pipeline) Dead(ctx context.Context) (all []DeadLetter, err error) {
	err = p.look(func(a *look.Archive) error {
		all, err = a.Dead(ctx)
		return err
	})
	return all, err
}

// Retry journals dead letters once more, each for its scanner alone: the one
// that id names, or all when it is empty. It returns how many now wait, and how
// many of them could not be: their files are gone or have changed, and their
// journal lines are pruned. One that waits already is left alone.
func (p *Pipeline) Retry(ctx context.Context, id string) (queued, unable int, err error) {
	prod := p.halves().producer
	if prod == nil {
		return 0, 0, errNoProducer
	}
	err = p.look(func(a *look.Archive) error {
		var lines [][]byte
		if lines, unable, err = a.Retry(ctx, id); err != nil {
			return err
		}
		queued = len(lines)
		return prod.Append(lines)
	})
	return queued, unable, err
}

// Drop takes the dead letter that id names off the list, for good. It returns
// how many that were: one for each scanner that gave the sample up.
func (p *Pipeline) Drop(ctx context.Context, id string) (n int, err error) {
	led := p.halves().ledger
	if led == nil {
		return 0, errNoConsumer
	}
	err = p.look(func(a *look.Archive) error {
		outs, err := a.Drop(ctx, id)
		if err != nil {
			return err
		}
		n = len(outs)
		return led.Record(outs)
	})
	return n, err
}

// Verify walks the trees and proves that every file is journaled in its present
// version and has its outcomes, by index and cursors; the ledger tells which
// they are. With fix it journals again what is not accounted for. It is for the
// process that watches; while none runs it proves without fixing, under the
// state folder's locks. The errors are those of Why.
func (p *Pipeline) Verify(ctx context.Context, fix bool) (v Proof, err error) {
	now := p.halves()
	switch {
	case now.producer == nil && now.open():
		return v, errNoProducer
	case now.producer == nil && fix:
		return v, errors.New("certpush does not run: start it, its sweep at the start journals what is missing, and verify then")
	}
	if !p.verifying.TryLock() {
		return v, ErrVerifying
	}
	defer p.verifying.Unlock()
	err = p.look(func(a *look.Archive) error {
		v, err = a.Verify(ctx, now.producer, fix)
		return err
	})
	if err == nil {
		p.unaccounted.Store(&v.Unaccounted)
	}
	return v, err
}
