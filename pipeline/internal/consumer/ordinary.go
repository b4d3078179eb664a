// SPDX-License-Identifier: Apache-2.0

package consumer

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/certpush/certpush/pipeline/internal/condition"
	"github.com/certpush/certpush/pipeline/scan"
)

// keptFrom reports whether a failed try of an ordinary file says nothing of that file: the
// address of the answer is kept from such files by AppArmor or SELinux, or may be, and is
// asked now. The sample is tried again all the same, for it lies in another folder than the
// canary. It uses up no try.
func (s *sights) keptFrom(a scan.Answer) bool {
	e := s.of(a.Address)
	if e == nil || a.Err == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	notOpened := errors.Is(a.Err, scan.ErrNotOpened)
	switch e.sight.Ordinary {
	case scan.No:
		return notOpened || a.Err.Kind == scan.Refused
	case scan.NotAsked, scan.NoAnswer:
		if notOpened {
			e.tried[scan.Ordinary] = time.Time{}
		}
		return notOpened
	}
	return false
}

// hands reports whether an address is handed the files as they lie. To all others their bytes
// are streamed, and no profile keeps them. Of nil, which is no address now, it is not so.
func (e *eye) hands() bool { return e != nil && scan.HandsOver(e.scanner) }

// barred knows the trees whose files the scanner may not open, though the canary in an
// ordinary file is let through: AppArmor judges by the path, SELinux by the label.
type barred struct {
	log *slog.Logger

	mu    sync.Mutex // guards trees
	trees map[string]*condition.Condition
}

func newBarred(log *slog.Logger) *barred {
	return &barred{log: log, trees: map[string]*condition.Condition{}}
}

// keeps reports whether a failed try of p's ordinary file says that the scanner may not open
// it, and logs when that begins in a tree and when it ends. It uses up no try: the file can
// be read, and all else in its tree has the same answer.
func (b *barred) keeps(p *push, a scan.Answer) bool {
	denied := a.Err != nil && (errors.Is(a.Err, scan.ErrNotOpened) || errors.Is(a.Err, scan.ErrDenied))
	if !denied && (a.Err != nil || !p.trial.denied) { // it says nothing of the tree
		return false
	}
	tree := p.file.tree.Path
	b.mu.Lock()
	is := b.trees[tree]
	if is == nil {
		is = &condition.Condition{}
		b.trees[tree] = is
	}
	b.mu.Unlock()
	var err error
	if p.trial.denied = denied; denied {
		err = a.Err
		p.trial.setReason(describe(a.Err.Kind.String(), a.Err))
	}
	switch is.Note(err) {
	case condition.Began:
		b.log.Warn("scanner may not open the files of a tree that it is handed: its samples over 256 KiB wait, and no try is used up", "tree", tree, "path", p.sample.Path, "error", a.Err, "hint", scan.Hint(scan.Ordinary))
	case condition.Ended:
		b.log.Info("scanner may open the files of the tree again", "tree", tree)
	}
	return denied
}
