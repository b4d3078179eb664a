// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/config"
	"github.com/certpush/certpush/pipeline/internal/look"
	"github.com/certpush/certpush/pipeline/internal/store"
	"github.com/certpush/certpush/pipeline/journal"
)

// ErrNoState is the error of a look into a state folder that no run has made yet.
var ErrNoState = store.ErrNoState

// ErrVerifying is the error of Verify while another Verify runs.
var ErrVerifying = errors.New("a verify is running already: wait for it")

// Held reports whether a process runs the half on this state folder. It makes nothing.
func Held(state string, half Half) (bool, error) {
	return journal.Held(state, config.Locks(half)[0])
}

// look calls f with an archive. While p runs, the archive reads the files beside it.
// While p does not run, the archive holds both locks, so that nobody moves the files.
func (p *Pipeline) look(f func(*look.Archive) error) error {
	if p.opening() {
		return errOpening // Run holds the locks, also while it waits for the disk
	}
	disk, rest := p.c.disk, !p.halves().open()
	if rest {
		disk = disk.ToRead()
	}
	a, err := look.Open(look.Config{State: p.c.State, Journal: p.c.Journal.Dir, Trees: p.c.Trees, Scanners: p.c.Scanners, Disk: disk, Log: p.c.Log,
		ByCursors: p.c.Half == ProducerOnly || rest && p.c.guessed}, rest)
	if err != nil {
		return err
	}
	return errors.Join(f(a), a.Close())
}

// Why returns the story of the sample that key names: an absolute path in all its
// versions, a SHA-256 in hex, an id, or LANE:SEGMENT:OFFSET. A Story without lines and
// outcomes means that nothing about it is kept. Of each list the newest thousand are
// returned. Of a path it also says what lies there now; a link that leads into a tree is
// resolved.
//
// While p does not run, Why locks the state folder. Then the error wraps ErrLocked if
// another process runs, and ErrNoState if there is no state.
func (p *Pipeline) Why(ctx context.Context, key string) (s Story, err error) {
	path := filepath.IsAbs(key)
	if path {
		key = look.Named(filepath.Clean(key), p.c.Trees)
	}
	err = p.look(func(a *look.Archive) error {
		if s, err = a.Why(ctx, key); err == nil && path {
			s.Now = a.Here(key, s, p.halves().producer)
		}
		return err
	})
	return s, err
}

// Dead returns the dead letters in the ledger, oldest first: samples whose last outcome
// at a scanner is dead. The errors are those of Why.
func (p *Pipeline) Dead(ctx context.Context) (all []DeadLetter, err error) {
	err = p.look(func(a *look.Archive) error {
		all, err = a.Dead(ctx)
		return err
	})
	return all, err
}

// countDead reads how many dead letters there are, and tries again each minute until it
// could. Outcomes that are recorded meanwhile are counted too.
func (p *Pipeline) countDead(ctx context.Context) error {
	var uncounted condition.Condition
	for {
		err := p.look(func(a *look.Archive) error { return p.letters.Load(ctx, a) })
		if ctx.Err() != nil {
			return nil
		}
		switch uncounted.Note(err) {
		case condition.Began:
			p.c.Log.Warn("the ledger cannot be read, so dead letters from before the start are not counted; it is tried again: look at the disk", "error", err)
		case condition.Ended:
			p.c.Log.Info("dead letters from before the start are counted")
		}
		if err == nil {
			return nil
		}
		t := time.NewTimer(countAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// countAgain is how long countDead waits after a failure.
const countAgain = time.Minute

// Retry journals dead letters once more, each for its scanner alone: those that id
// names, or all if id is empty. It passes over letters that wait already. queued is how
// many wait now because of it. unable is how many cannot be journaled: the old line is
// pruned, and the file is gone or has changed. It works only while p runs the producer.
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

// Drop takes the dead letter that id names off the list, for good. It returns how many
// outcomes it recorded: one for each scanner that gave the sample up. It works only
// while p runs the consumers.
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
		if err := led.Record(outs); err != nil {
			return err
		}
		for _, o := range outs {
			p.letters.Note(o)
		}
		return nil
	})
	return n, err
}

// verified is what a Verify found.
type verified struct {
	unaccounted int64
	proven      bool // it reached everything, and each file was accounted for
}

// Verify walks the trees and proves that each file is journaled in its present version,
// and has its outcomes or waits for them. It uses index and cursors; the ledger tells
// the outcomes. With fix it journals the files again that are not accounted for.
//
// It works in the process that watches. If p does not run, it fixes nothing, and locks
// the state folder meanwhile. The errors are those of Why, and ErrVerifying.
func (p *Pipeline) Verify(ctx context.Context, fix bool) (v Proof, err error) {
	return p.verify(ctx, fix, false)
}

// VerifyRead is Verify, and reads each file too: if its SHA-256 is not that of its last
// verdict, it is unaccounted for, and with fix it is journaled again. It reads one file
// after the other, until ctx ends. A file that changes meanwhile is passed over.
func (p *Pipeline) VerifyRead(ctx context.Context, fix bool) (v Proof, err error) {
	return p.verify(ctx, fix, true)
}

func (p *Pipeline) verify(ctx context.Context, fix, read bool) (v Proof, err error) {
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
		if now.open() {
			v, err = a.Verify(ctx, now.producer, fix, read)
		} else {
			v, err = a.VerifyAtRest(ctx, read)
		}
		return err
	})
	if ctx.Err() == nil {
		p.verified.Store(&verified{v.Unaccounted, err == nil && v.Proven()})
	}
	return v, err
}
