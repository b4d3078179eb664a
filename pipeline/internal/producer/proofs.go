// SPDX-License-Identifier: Apache-2.0

package producer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/internal/index"
	"github.com/certpush/certpush/pipeline/internal/sample"
	"github.com/certpush/certpush/pipeline/journal"
	"github.com/certpush/certpush/pipeline/watch"
)

const (
	grain       = 20 * time.Millisecond // a clock of file times steps at most so far
	coarseGrain = 2 * time.Second       // the same where times have no nanoseconds

	proofEvery = 50 * time.Millisecond // outcomes are noted this often
	proofsMost = 1 << 16               // at most so many paths wait; the sweep finds what is left out
	heldTries  = 10                    // a file that another program holds is tried so often, once a second
)

// grainOf returns how far apart two changes may be that give a file the same ctime.
func grainOf(ctime watch.Time) time.Duration {
	if ctime.Nsec == 0 {
		return coarseGrain
	}
	return grain
}

// young reports whether a file that had st at a time may be written after that and keep
// its version.
func young(st watch.Stat, at time.Time) bool {
	return at.Sub(time.Unix(st.Ctime.Sec, int64(st.Ctime.Nsec))) < grainOf(st.Ctime)
}

// proofs proves the bytes of files whose version does not: those that were noted within
// one grain of their ctime. An event of such a file, or a sweep, asks for it. A grain
// later the file is hashed once, and journaled again only if the hash is not that of the
// outcome, or the outcome has none.
//
// A scanner that opened the file after the grain got its last bytes: that needs no hash.
// So while the line waits for its outcome nothing is read.
type proofs struct {
	index   *index.Index
	watcher *watch.Watcher
	cursors func(lane string) (journal.Pos, error) // the oldest cursor on disk
	floor   map[string]journal.Pos                 // by lane: all cursors were there before the ledger was read to its end; run's own
	log     *slog.Logger
	woken   chan struct{} // a token: there is something to do

	outcomes Outcomes
	unread   condition.Condition // the ledger cannot be read, or the index not be written

	mu      sync.Mutex           // guards the fields below
	asked   map[string]*question // by path
	waiting map[string]bool      // paths that were asked for and have no outcome yet
}

// question is a path that is to be proved.
type question struct {
	due   time.Time
	tries int
}

func (p *proofs) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// ask asks for the proof of path, whose version is st.
func (p *proofs) ask(path string, st watch.Stat) {
	p.mu.Lock()
	if p.asked[path] == nil && len(p.asked) < proofsMost {
		p.asked[path] = &question{due: time.Now().Add(grainOf(st.Ctime))}
	}
	p.mu.Unlock()
	p.wake()
}

// run notes outcomes and proves files until ctx ends.
func (p *proofs) run(ctx context.Context) error {
	read := &hashes{proofs: p}
	for {
		late, err := read.all(ctx)
		if err == nil {
			err = p.round(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		switch p.unread.Note(err) {
		case condition.Began:
			p.log.Error("the hashes in the ledger cannot be noted in the index; some files may be pushed again: look at the disk of the state", "error", err)
		case condition.Ended:
			p.log.Info("the hashes in the ledger are noted in the index again")
		}
		wait := p.next()
		switch {
		case err != nil:
			wait = time.Second
		case late:
			wait = 0
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-p.woken:
		case <-t.C:
		}
		t.Stop()
		t.Reset(proofEvery) // what comes at the same time is noted together
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// next returns how long it is until the next proof is due.
func (p *proofs) next() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := tendEvery // the ledger may be another process's, which does not tell of its lines
	for _, q := range p.asked {
		wait = min(wait, time.Until(q.due))
	}
	return max(wait, 0)
}

// round proves the files that are due.
func (p *proofs) round(ctx context.Context) error {
	now := time.Now()
	var due []string
	p.mu.Lock()
	for path, q := range p.asked {
		if !now.Before(q.due) {
			due = append(due, path)
		}
	}
	p.mu.Unlock()
	for _, path := range due {
		again, err := p.prove(ctx, path)
		if ctx.Err() != nil {
			return nil
		}
		p.mu.Lock()
		if q := p.asked[path]; again && err == nil && q.tries < heldTries {
			q.tries, q.due = q.tries+1, time.Now().Add(time.Second)
		} else {
			delete(p.asked, path)
		}
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// prove proves the bytes of path, or lets it be journaled again. again says that the file
// cannot be read now.
func (p *proofs) prove(ctx context.Context, path string) (again bool, err error) {
	e, ok, err := p.index.Get(path)
	if err != nil || !ok || !e.InDoubt() {
		return false, err
	}
	if e.Bytes == index.Young {
		if !p.ended(e.At) {
			p.mu.Lock()
			if len(p.waiting) < proofsMost {
				p.waiting[path] = true // note asks once more if the scanner was within the grain
			}
			p.mu.Unlock()
			return false, nil
		}
		e.Bytes = index.Unhashed // its outcome came while nobody noted it
	}
	is := index.Afresh
	if e.Bytes == index.Hashed {
		sum, st, err := p.hash(ctx, path, func(int) error { return nil })
		switch {
		case ctx.Err() != nil:
			return false, nil
		case err == nil && p.watcher.Same(path, st.Dev)(st, e.Stat) && sum == e.Sum:
			is = index.Proved
		case errors.Is(err, fs.ErrNotExist):
			return false, nil // a sweep forgets it, or it settles under its new name
		case err != nil:
			return true, nil
		}
	}
	at := e.At
	err = p.index.Amend(ctx, []string{path}, "", func(_ string, e index.Entry) (index.Entry, bool) {
		if e.At != at || !e.InDoubt() {
			return e, false
		}
		e.Bytes = is
		return e, true
	})
	if err == nil && is == index.Afresh {
		p.watcher.Again(path)
	}
	return false, err
}

// hash is Hash for the trees of p.
func (p *proofs) hash(ctx context.Context, path string, pace func(n int) error) (sum [32]byte, st watch.Stat, err error) {
	return Hash(ctx, p.watcher, path, pace)
}

// Hash returns the SHA-256 of the file at path in a tree of w, and the version that it had
// before and after. If it changed meanwhile, the version is the zero one. It calls pace
// with the length of each piece that it has read.
func Hash(ctx context.Context, w *watch.Watcher, path string, pace func(n int) error) (sum [32]byte, st watch.Stat, err error) {
	root, rel, ok := w.Below(path)
	if !ok {
		return sum, st, fs.ErrNotExist
	}
	f, st, err := watch.Open(root, rel)
	if err != nil {
		return sum, st, err
	}
	defer f.Close()
	h := sha256.New()
	if err := copyAll(ctx, h.Write, f, pace); err != nil {
		return sum, st, fmt.Errorf("read file: %w", err)
	}
	after, err := watch.Fstat(f)
	if err == nil && !after.Same(st) {
		st = watch.Stat{}
	}
	h.Sum(sum[:0])
	return sum, st, err
}

// copyAll hands all of f to write, until ctx ends. It calls pace with the length of each
// piece.
func copyAll(ctx context.Context, write func([]byte) (int, error), f *os.File, pace func(n int) error) error {
	buf := make([]byte, 256<<10)
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		if n > 0 {
			if _, err := write(buf[:n]); err != nil {
				return err
			}
			if err := pace(n); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// ended reports whether a line has all its outcomes, and those are noted.
func (p *proofs) ended(at sample.At) bool { return at.Pos.Before(p.floor[at.Lane]) }
